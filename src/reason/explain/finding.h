// What an engine found in a case, in one form for all of them.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "reason/explain/mass_engine.h"
#include "reason/explain/statistics_engine.h"

namespace weir::explain {

struct Finding {
  std::map<std::uint32_t, double> blame{};  ///< by entity, with the symptom's; adds up to 1
  /// Orders the causes, where they are not just ordered by blame.
  std::map<std::uint32_t, double> suspicion{};
  std::map<std::uint32_t, double> p_values{};
  /// Of the symptom's change, in `unit`, what passed along an edge; the flag says that the edge is proposed.
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::pair<double, bool>> passed{};
  std::string unit{};
  std::map<std::uint32_t, std::uint32_t> metrics{};  ///< by entity, the one that stands for it
  double p_value = 1;                                ///< of the best entity
  bool symptom_out = false;                          ///< whether there is a symptom at all
};

Finding find_by_mass(const Case& incident, const MassEngine& engine);
Finding find_by_statistics(const Case& incident, StatisticsEngine& engine);
/// Scores stand for blame, and nothing says how unusual they are: the p-values are not numbers.
Finding find_by_ranking(const Case& incident, const Suspects& suspects);

/// Writes the explanation of what was found.
Explanation write_explanation(const Case& incident, const Finding& finding, const Options& options);

}  // namespace weir::explain
