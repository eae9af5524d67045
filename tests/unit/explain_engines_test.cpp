// Engines of `explain` one by one, and what they are made of: conditionals, Murphy's counterfactuals, plain methods.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <random>

#include "reason/explain/conditionals.h"
#include "reason/explain/murphy.h"
#include "reason/explain/random.h"
#include "support/synthetic_incidents.h"

namespace weir::explain {
namespace {

/// Entity 0 asks entity 1; metrics a, b of entity 1 and y of entity 0.
struct Pair {
  std::vector<float> a, b, y;
  [[nodiscard]] Past learn() const {
    Table table;
    for (std::size_t i = 0; i < y.size(); ++i) table.times_s.push_back(static_cast<double>(i));
    table.columns = {{"callee", "a", "", a}, {"callee", "b", "", b}, {"caller", "y", "", y}};
    auto past = Past::learn({.entities = {"caller", "callee"}, .edges = {{0, 1}}}, table);
    EXPECT_TRUE(past.has_value());
    return std::move(*past);
  }
};

Pair linear_pair(std::size_t rows) {
  Pair pair;
  std::mt19937_64 random(7);
  std::normal_distribution<float> normal;
  for (std::size_t i = 0; i < rows; ++i) {
    pair.a.push_back(1000 + 10 * normal(random));
    pair.b.push_back(0.01F * normal(random));
    pair.y.push_back(5 + 2 * pair.a[i] - 300 * pair.b[i] + normal(random));
  }
  return pair;
}

double mean_of(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}
double covariance(const std::vector<float>& x, const std::vector<float>& y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - mean_of(x)) * (y[i] - mean_of(y));
  return sum / static_cast<double>(x.size());
}

TEST(Conditionals, AgreeWithARidgeSolvedByHand) {
  const Pair pair = linear_pair(200);
  const Past past = pair.learn();
  const double ridge = 0.3;
  const auto learnt = learn_conditionals(past.model(), {.ridge = static_cast<float>(ridge)});
  const double sa = std::sqrt(covariance(pair.a, pair.a));
  const double sb = std::sqrt(covariance(pair.b, pair.b));
  const double sy = std::sqrt(covariance(pair.y, pair.y));
  const double ab = covariance(pair.a, pair.b) / sa / sb;
  const double ay = covariance(pair.a, pair.y) / sa / sy;
  const double by = covariance(pair.b, pair.y) / sb / sy;
  // Two equations by Cramer's rule.
  const double d = (1 + ridge) * (1 + ridge) - ab * ab;
  const double on_a = ((1 + ridge) * ay - ab * by) / d;
  const double on_b = ((1 + ridge) * by - ab * ay) / d;
  const Conditional& y = learnt[2];
  ASSERT_EQ(y.size, 2U);
  EXPECT_EQ(y.feature[0], 0U) << "the one that goes with it most comes first";
  EXPECT_NEAR(y.coefficient[0], on_a * sy / sa, 1e-4);
  EXPECT_NEAR(y.coefficient[1], on_b * sy / sb, 1e-2);
  EXPECT_NEAR(y.intercept, mean_of(pair.y) - on_a * sy / sa * mean_of(pair.a) - on_b * sy / sb * mean_of(pair.b), 0.1);
  const double explained = 2 * (on_a * ay + on_b * by) - on_a * on_a - on_b * on_b - 2 * on_a * on_b * ab;
  EXPECT_NEAR(y.r2, explained, 1e-4);
  EXPECT_NEAR(y.residual_sd, sy * std::sqrt((1 - explained) * 200 / 197), 1e-2);
}

TEST(Conditionals, FindTheCoefficientsAlsoBehindMissingValues) {
  Pair pair = linear_pair(500);
  for (std::size_t i = 0; i < 500; ++i) {
    if (i % 7 == 0) pair.y[i] = missing;
    if (i % 50 == 3) pair.b[i] = i % 100 == 3 ? missing : std::numeric_limits<float>::infinity();
  }
  const Past past = pair.learn();
  const auto learnt = learn_conditionals(past.model(), {.ridge = 1e-4F});
  ASSERT_EQ(learnt[2].size, 2U);
  EXPECT_NEAR(learnt[2].coefficient[0], 2, 0.02);
  EXPECT_NEAR(learnt[2].coefficient[1], -300, 15);
  EXPECT_NEAR(learnt[2].expected(std::vector<float>{1000, 0, 0}), 2005, 1);
  EXPECT_NEAR(learnt[2].residual_sd, 1, 0.2);
}

TEST(Conditionals, SayNothingOfConstantsAndOfWhatTheyDoNotReach) {
  Pair pair = linear_pair(100);
  pair.a.assign(100, 7);
  pair.b.assign(100, missing);
  const Past past = pair.learn();
  const auto learnt = learn_conditionals(past.model());
  EXPECT_EQ(learnt[0].size, 0U) << "callees are not told from callers";
  EXPECT_EQ(learnt[0].intercept, 7);
  EXPECT_EQ(learnt[0].residual_sd, 0);
  EXPECT_EQ(learnt[1].size, 0U);
  EXPECT_EQ(learnt[2].size, 0U) << "its features never changed, or were never measured";
  EXPECT_NEAR(learnt[2].intercept, mean_of(pair.y), 1e-2);
  const auto both_ways = learn_conditionals(linear_pair(100).learn().model(), {.undirected = true});
  EXPECT_EQ(both_ways[0].size, 2U);
}

TEST(Conditionals, KeepTheBestFeatures) {
  Pair pair = linear_pair(100);
  const auto learnt = learn_conditionals(pair.learn().model(), {.features = 1});
  ASSERT_EQ(learnt[2].size, 1U);
  EXPECT_EQ(learnt[2].feature[0], 0U);
}

TEST(Conditionals, LearnFromTheRowsOfTheCaseToo) {
  Pair pair = linear_pair(100);
  pair.a.assign(100, 7);
  const Past past = pair.learn();
  Table window{.times_s = {100, 101, 102, 103}, .columns = {}};
  window.columns = {{"callee", "a", "", {8, 8, 9, 9}}, {"caller", "y", "", {5000, 5000, 6000, 6000}}};
  const auto incident = make_case(past.model(), window, {.entity = "caller", .metric = "y", .since_s = {}}, false);
  ASSERT_TRUE(incident.has_value());
  StandardColumns columns(past.model(), &*incident);
  EXPECT_EQ(columns.rows(), 104U);
  ConditionalLearner learner(columns, {});
  const Conditional y = learner.learn(2);
  ASSERT_GE(y.size, 1U);
  EXPECT_EQ(y.feature[0], 0U);
  EXPECT_GT(y.coefficient[0], 1000);
}

TEST(Baselines, AreTheQuantilesOfTheValues) {
  std::mt19937_64 random(5);
  for (std::size_t size = 1; size < 120; ++size) {
    std::vector<float> values;
    for (std::size_t i = 0; i < size; ++i) {
      const float x = std::normal_distribution<float>(-1, 4)(random);
      values.push_back(size % 3 == 0 ? std::round(x) : x);  // with ties too
    }
    std::vector<float> series = values;
    series.insert(series.begin() + static_cast<std::ptrdiff_t>(size / 2), {missing, -missing});
    series.push_back(std::numeric_limits<float>::infinity());
    const Baseline usual = baseline_of(series, Quantity::other);
    const auto quantile = [](std::vector<float> of, double share) {
      std::ranges::sort(of);
      return of[static_cast<std::size_t>(share * static_cast<double>(of.size()))];
    };
    EXPECT_EQ(usual.values, size);
    EXPECT_EQ(usual.centre, quantile(values, 0.5));
    EXPECT_EQ(usual.low, quantile(values, 0.02));
    EXPECT_EQ(usual.high, quantile(values, 0.98));
    std::vector<float> away;
    for (const float value : values) away.push_back(std::abs(value - usual.centre));
    const double mad = 1.48 * quantile(away, 0.5);
    const double spread = (quantile(values, 0.95) - quantile(values, 0.05)) / 3.3;
    EXPECT_FLOAT_EQ(usual.scale, static_cast<float>(std::max({mad, spread, 1e-6 * std::abs(usual.centre), 1e-9})));
  }
  EXPECT_EQ(baseline_of(std::vector<float>{missing}, Quantity::other).values, 0U);
}

/// A past and one case of it.
struct Scene {
  test::SyntheticIncident incident;
  Past past;
  Case explained;
};

std::unique_ptr<Scene> scene_of(test::Family family, std::uint64_t seed, bool undirected = false) {
  test::SyntheticIncident incident = test::make_incident(family, seed);
  auto past = Past::learn(incident.graph, incident.healthy);
  EXPECT_TRUE(past.has_value());
  auto explained = make_case(past->model(), incident.window, incident.symptom, undirected);
  EXPECT_TRUE(explained.has_value());
  return std::make_unique<Scene>(Scene{std::move(incident), std::move(*past), std::move(*explained)});
}

/// Place of the entity in the list, from 1; 0 when it is not there.
std::size_t rank_of(const Scene& scene, const Suspects& suspects, const std::string& entity) {
  for (std::size_t i = 0; i < suspects.size(); ++i) {
    if (scene.past.model().graph.entities[suspects[i].entity] == entity) return i + 1;
  }
  return 0;
}

TEST(Random, NormalHasTheMomentsAndTheTailsOfTheNormalDistribution) {
  Random random(3);
  constexpr int count = 1'000'000;
  std::array<double, 4> moments{};
  int beyond_2 = 0;
  int beyond_4 = 0;
  for (int i = 0; i < count; ++i) {
    const double x = random.normal();
    for (std::size_t k = 0; k < moments.size(); ++k) moments[k] += std::pow(x, static_cast<double>(k + 1)) / count;
    beyond_2 += std::abs(x) > 2 ? 1 : 0;
    beyond_4 += std::abs(x) > 4 ? 1 : 0;
  }
  EXPECT_NEAR(moments[0], 0, 0.005);
  EXPECT_NEAR(moments[1], 1, 0.007);
  EXPECT_NEAR(moments[2], 0, 0.02);
  EXPECT_NEAR(moments[3], 3, 0.06);
  EXPECT_NEAR(beyond_2, 45'500, 1'100);
  EXPECT_NEAR(beyond_4, 63, 40);
}

TEST(Murphy, AnalyticAgreesWithSampledWithinTheSamplingError) {
  const MurphySettings settings{.samples = 4096};
  std::size_t compared = 0;
  std::size_t beyond_2 = 0;
  double worst = 0;
  for (const auto family : {test::Family::dag, test::Family::cycles, test::Family::services}) {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
      // Read both ways, every graph is full of cycles.
      const auto scene = scene_of(family, seed, seed % 3 == 0);
      Counterfactuals counterfactuals(scene->explained, settings);
      auto candidates = counterfactuals.candidates();
      if (candidates.size() > 6) candidates.resize(6);
      for (const std::uint32_t candidate : candidates) {
        const auto exact = counterfactuals.analytic(candidate, 2);
        const auto drawn = counterfactuals.sampled(candidate, 2);
        const double error = exact.factual_sd / std::sqrt(settings.samples) + 1e-5 * std::abs(exact.factual) + 1e-12;
        for (const double off :
             {(drawn.factual - exact.factual) / error, (drawn.counterfactual - exact.counterfactual) / error}) {
          worst = std::max(worst, std::abs(off));
          beyond_2 += std::abs(off) > 2 ? 1 : 0;
          ++compared;
        }
        EXPECT_NEAR(drawn.factual_sd, exact.factual_sd, 0.06 * exact.factual_sd + 1e-5 * std::abs(exact.factual));
        EXPECT_NEAR(drawn.counterfactual_sd, exact.counterfactual_sd,
                    0.06 * exact.factual_sd + 1e-5 * std::abs(exact.factual));
      }
    }
  }
  EXPECT_GT(compared, 200U);
  EXPECT_LT(worst, 4.5) << "standard errors, of " << compared;
  EXPECT_LT(beyond_2, compared * 8 / 100) << "should be one in twenty";
}

TEST(Murphy, BothOfItsFormsRankAlike) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const auto scene = scene_of(test::Family::cycles, seed);
    const auto analytic = rank_by_murphy(scene->explained);
    const auto sampled = rank_by_murphy_sampled(scene->explained, {.samples = 2048});
    ASSERT_FALSE(analytic.empty());
    ASSERT_FALSE(sampled.empty());
    EXPECT_EQ(analytic.front().entity, sampled.front().entity) << seed;
  }
}

TEST(Murphy, SameSeedSameAnswer) {
  const auto scene = scene_of(test::Family::dag, 5);
  const auto once = rank_by_murphy_sampled(scene->explained, {.samples = 700, .seed = 9});
  const auto again = rank_by_murphy_sampled(scene->explained, {.samples = 700, .seed = 9});
  ASSERT_EQ(once.size(), again.size());
  Counterfactuals a(scene->explained, {.samples = 700, .seed = 9});
  Counterfactuals b(scene->explained, {.samples = 700, .seed = 9});
  Counterfactuals other(scene->explained, {.samples = 700, .seed = 10});
  const std::uint32_t candidate = once.front().entity;
  a.sampled(once.back().entity, 2);  // what was asked before does not matter
  const double drawn = a.sampled(candidate, 2).factual;
  EXPECT_EQ(drawn, b.sampled(candidate, 2).factual);
  EXPECT_NE(drawn, other.sampled(candidate, 2).factual);
}

TEST(Murphy, ACounterfactualOfTheRootTakesTheSymptomAway) {
  int mended = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto scene = scene_of(test::Family::dag, seed);
    const auto& entities = scene->past.model().graph.entities;
    const auto root =
        static_cast<std::uint32_t>(std::ranges::find(entities, scene->incident.roots.front()) - entities.begin());
    Counterfactuals counterfactuals(scene->explained, {});
    const Baseline& usual = scene->past.model().baselines[scene->explained.symptom];
    const double without = counterfactuals.symptom_without(root);
    const double with = counterfactuals.analytic(scene->explained.symptom_entity(), 2).factual;
    const double before = std::abs(with - usual.centre);
    mended += std::abs(without - usual.centre) < 0.6 * before ? 1 : 0;
  }
  EXPECT_GE(mended, 15);
}

TEST(Murphy, TheTailOfStudentsDistribution) {
  // t = 2.0 with 2 (n - 1) degrees of freedom.
  const auto p_at = [](std::size_t n) {
    const double sd = std::sqrt(static_cast<double>(n) / 2);
    return p_value_of({.factual = 2, .counterfactual = 0, .factual_sd = sd, .counterfactual_sd = sd}, Bad::up, n);
  };
  EXPECT_NEAR(p_at(6), 0.0367, 0.0003);
  EXPECT_NEAR(p_at(16), 0.0273, 0.0002);
  EXPECT_NEAR(p_at(100'000), 0.02275, 0.0001);
  const CounterfactualEffect certain{.factual = 2, .counterfactual = 1, .factual_sd = 0, .counterfactual_sd = 0};
  EXPECT_EQ(p_value_of(certain, Bad::up, 10), 0);
  EXPECT_EQ(p_value_of(certain, Bad::down, 10), 1) << "the symptom would get worse";
}

struct Named {
  const char* name;
  Suspects (*rank)(const Case&);
};
Suspects murphy(const Case& incident) {
  return rank_by_murphy(incident);
}
constexpr std::array engines{Named{"max z", rank_by_max_z}, Named{"correlation", rank_by_correlation},
                             Named{"traversal", rank_by_traversal}, Named{"random walk", rank_by_random_walk},
                             Named{"Murphy", murphy}};

TEST(Engines, NeverNameTheSymptomItselfAndOrderByScore) {
  for (const auto family : test::all_families) {
    const auto scene = scene_of(family, 3);
    for (const Named& engine : engines) {
      const Suspects suspects = engine.rank(scene->explained);
      for (std::size_t i = 0; i < suspects.size(); ++i) {
        EXPECT_NE(suspects[i].entity, scene->explained.symptom_entity()) << engine.name;
        EXPECT_TRUE(std::isfinite(suspects[i].score)) << engine.name;
        if (i > 0) {
          EXPECT_GE(suspects[i - 1].score, suspects[i].score) << engine.name;
        }
      }
    }
  }
}

TEST(Engines, FindAPlainRootFarMoreOftenThanByChance) {
  for (const Named& engine : engines) {
    int found = 0;
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
      const auto scene = scene_of(test::Family::dag, seed);
      const std::size_t rank = rank_of(*scene, engine.rank(scene->explained), scene->incident.roots.front());
      found += rank >= 1 && rank <= 3 ? 1 : 0;
    }
    EXPECT_GE(found, 15) << engine.name;
  }
}

TEST(Engines, SurviveAWindowWithoutValues) {
  auto incident = test::make_incident(test::Family::dag, 2);
  const auto past = Past::learn(incident.graph, incident.healthy);
  ASSERT_TRUE(past.has_value());
  for (auto& column : incident.window.columns) {
    if (column.entity != incident.symptom.entity) column.values.assign(column.values.size(), missing);
  }
  const auto explained = make_case(past->model(), incident.window, incident.symptom, false);
  ASSERT_TRUE(explained.has_value());
  EXPECT_TRUE(rank_by_max_z(*explained).empty());
  EXPECT_TRUE(rank_by_traversal(*explained).empty());
  EXPECT_TRUE(rank_by_murphy(*explained).empty());
}

TEST(Synthetic, TheSameSeedMakesTheSameCase) {
  for (const auto family : test::all_families) {
    const auto once = test::make_incident(family, 11);
    const auto again = test::make_incident(family, 11);
    ASSERT_EQ(once.window.columns.size(), again.window.columns.size());
    EXPECT_EQ(once.roots, again.roots);
    for (std::size_t i = 0; i < once.window.columns.size(); ++i) {
      const auto& a = once.window.columns[i].values;
      const auto& b = again.window.columns[i].values;
      EXPECT_TRUE(
          std::ranges::equal(a, b, [](float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); }));
    }
    EXPECT_TRUE(std::ranges::find(once.graph.entities, once.symptom.entity) != once.graph.entities.end());
  }
}

TEST(Synthetic, WithoutTheFaultThereIsNoSymptom) {
  for (const auto family : test::all_families) {
    int gone = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      const auto scene = scene_of(family, seed);
      const auto window = test::window_without(family, seed, scene->incident.roots);
      const auto healed = make_case(scene->past.model(), window, scene->incident.symptom, false);
      ASSERT_TRUE(healed.has_value());
      const auto deviation = [&](const Case& incident) {
        double sum = 0;
        for (std::size_t row = scene->incident.onset_row + 2; row < incident.rows(); ++row) {
          const double z = incident.z(incident.symptom, row);
          sum += std::isfinite(z) ? z : 0;
        }
        return sum / static_cast<double>(incident.rows() - scene->incident.onset_row - 2);
      };
      EXPECT_GT(deviation(scene->explained), 0.5) << to_string(family) << " " << seed;
      gone += std::abs(deviation(*healed)) < 0.4 * deviation(scene->explained) ? 1 : 0;
    }
    EXPECT_GE(gone, 17) << to_string(family);
  }
}

}  // namespace
}  // namespace weir::explain
