// What the engines of `explain` are made of: conditionals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "reason/explain/conditionals.h"

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

}  // namespace
}  // namespace weir::explain
