// The default engine beside every baseline, on incidents whose truth is known: 60 of each family.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <map>
#include <numeric>

#include "support/synthetic_incidents.h"

namespace weir::explain {
namespace {

using test::Family;

constexpr std::uint64_t cases_of_family = 60;
constexpr std::array engines{Engine::max_z,     Engine::ranked_correlation,
                             Engine::traversal, Engine::random_walk,
                             Engine::murphy,    Engine::combined};

/// How often the first named is a root, and all roots are among the first three.
struct Recall {
  int at_1 = 0;
  int at_3 = 0;
};

/// What is told of the default engine besides.
struct Conduct {
  int right = 0;   ///< the first named is a root
  int mended = 0;  ///< and without the fault of the first named, most of its symptom is gone
  int silent = 0;  ///< names nobody when nothing has to do with the symptom
  double worst_sum = 0;
};

struct Outcome {
  std::map<std::pair<Family, Engine>, Recall> recalls;
  std::map<Family, Conduct> conducts;
};

Recall recall_of(const Explanation& explanation, const std::vector<std::string>& roots) {
  const auto among_first = [&](std::size_t count) {
    std::size_t found = 0;
    for (std::size_t i = 0; i < std::min(count, explanation.causes.size()); ++i) {
      found += std::ranges::find(roots, explanation.causes[i].entity) != roots.end() ? 1U : 0U;
    }
    return found;
  };
  return {among_first(1) == 1 ? 1 : 0, among_first(3) == roots.size() ? 1 : 0};
}

/// How far the symptom is out, in scales, from the true onset on.
double symptom_of(const Table& healthy, const Table& window, const Symptom& symptom, std::size_t onset_row) {
  const auto is_symptom = [&](const Column& column) {
    return column.entity == symptom.entity && column.metric == symptom.metric;
  };
  const auto mean = [&](const Table& table, std::size_t first) {
    const auto& values = std::ranges::find_if(table.columns, is_symptom)->values;
    double sum = 0;
    int count = 0;
    for (std::size_t row = first; row < values.size(); ++row) {
      if (!std::isfinite(values[row])) continue;
      sum += values[row];
      ++count;
    }
    return sum / std::max(1, count);
  };
  return std::abs(mean(window, onset_row) - mean(healthy, 0));
}

void judge_conduct(Family family, std::uint64_t seed, const test::SyntheticIncident& incident, const Past& past,
                   const Explanation& explanation, Conduct& conduct) {
  const double sum = std::accumulate(explanation.causes.begin(), explanation.causes.end(), explanation.unexplained,
                                     [](double so_far, const Cause& cause) { return so_far + cause.blame; });
  conduct.worst_sum = std::max(conduct.worst_sum, std::abs(sum - 1));
  const auto healed = test::window_without(family, seed, incident.roots);
  const auto quiet = explain(past, healed, incident.symptom);
  conduct.silent += quiet && quiet->causes.empty() ? 1 : 0;
  if (recall_of(explanation, incident.roots).at_1 == 0) return;
  ++conduct.right;
  const auto without = test::window_without(family, seed, {explanation.causes.front().entity});
  const double before = symptom_of(incident.healthy, incident.window, incident.symptom, incident.onset_row);
  const double after = symptom_of(incident.healthy, without, incident.symptom, incident.onset_row);
  // Of two faults the other is still there.
  conduct.mended += after < (family == Family::two_faults ? 0.85 : 0.5) * before ? 1 : 0;
}

/// Over all cases; made once.
const Outcome& outcome() {
  static const auto result = [] {
    Outcome all;
    for (const auto family : test::all_families) {
      for (std::uint64_t seed = 1; seed <= cases_of_family; ++seed) {
        const auto incident = test::make_incident(family, seed);
        const auto past = Past::learn(incident.graph, incident.healthy);
        if (!past) ADD_FAILURE() << past.error().message;
        for (const Engine engine : engines) {
          // Whoever it is: whether it is sure enough to be named is another question.
          const auto explanation =
              explain(*past, incident.window, incident.symptom, {.engine = engine, .significance = 1});
          if (!explanation) {
            ADD_FAILURE() << explanation.error().message;
            continue;
          }
          const Recall recall = recall_of(*explanation, incident.roots);
          all.recalls[{family, engine}].at_1 += recall.at_1;
          all.recalls[{family, engine}].at_3 += recall.at_3;
          if (engine == Engine::combined) {
            judge_conduct(family, seed, incident, *past, *explanation, all.conducts[family]);
          }
        }
      }
    }
    return all;
  }();
  return result;
}

std::string percent(int count) {
  return std::to_string(std::lround(100.0 * count / static_cast<double>(cases_of_family)));
}

TEST(Synthetic, TableOfRecallAtOneAndThree) {
  std::cout << "| family |";
  for (const Engine engine : engines) std::cout << ' ' << to_string(engine) << " |";
  std::cout << " mended without the first | silent without the fault |\n";
  for (const auto family : test::all_families) {
    std::cout << "| " << to_string(family) << " |";
    for (const Engine engine : engines) {
      const Recall& recall = outcome().recalls.at({family, engine});
      std::cout << ' ' << percent(recall.at_1) << " / " << percent(recall.at_3) << " |";
    }
    const Conduct& conduct = outcome().conducts.at(family);
    std::cout << ' ' << conduct.mended << " of " << conduct.right << " | " << percent(conduct.silent) << " |\n";
  }
}

TEST(Synthetic, TheDefaultEngineIsAheadOfEveryBaselineInEveryFamily) {
  for (const auto family : test::all_families) {
    const Recall& ours = outcome().recalls.at({family, Engine::combined});
    for (const Engine engine : engines) {
      if (engine == Engine::combined) continue;
      const Recall& theirs = outcome().recalls.at({family, engine});
      EXPECT_GT(ours.at_1, theirs.at_1) << to_string(family) << ", " << to_string(engine);
      EXPECT_GE(ours.at_3, theirs.at_3) << to_string(family) << ", " << to_string(engine);
    }
  }
}

TEST(Synthetic, TheBooksAddUpAndWithoutTheNamedRootTheSymptomIsGone) {
  for (const auto& [family, conduct] : outcome().conducts) {
    EXPECT_LT(conduct.worst_sum, 1e-9) << to_string(family);
    EXPECT_GE(conduct.mended, conduct.right * 9 / 10) << to_string(family);
  }
}

TEST(Synthetic, NobodyIsNamedWhenNothingDidIt) {
  int silent = 0;
  for (const auto& [family, conduct] : outcome().conducts) silent += conduct.silent;
  EXPECT_GE(silent, static_cast<int>(cases_of_family * test::all_families.size() * 9 / 10));
}

}  // namespace
}  // namespace weir::explain
