// What comes and goes with the time of day: found in the healthy past and taken out of it and of a case.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "reason/explain/model.h"

namespace weir::explain {

/// Waves of one period through every metric that has them.
struct Season {
  static constexpr std::size_t waves = 3;  ///< the period, its half and its third
  double period_s = 0;
  /// By metric: factors of sine and cosine of each wave; all 0 where the metric does not follow.
  std::vector<std::array<float, 2 * waves>> factors;

  [[nodiscard]] double at(std::uint32_t metric, double time_s) const;
};

/// The period at which the metrics are most like themselves, where that is clear and the past holds it at least twice.
std::optional<Season> find_season(const PastModel& past);

/// The past without its season; baselines are of what is left.
PastModel without_season(const PastModel& past, const Season& season);

/// Takes the season out of a case, whose past becomes `past` (which has none). What was taken is kept as offsets.
void remove_season(Case& incident, const PastModel& past, const Season& season, const std::optional<double>& since_s);

}  // namespace weir::explain
