// What is worked out of a past once and asked again and again.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "reason/explain/mass_engine.h"
#include "reason/explain/season.h"
#include "reason/explain/statistics_engine.h"

namespace weir::explain {

/// Engines by symptom and by whether edges have a direction, and the season. Locked while it is used.
struct EngineCache {
  std::mutex mutex;
  bool season_known = false;
  std::optional<Season> season;
  std::unique_ptr<const PastModel> without_season;
  /// They remember what they worked out: used by one at a time.
  std::map<std::pair<std::uint32_t, bool>, std::unique_ptr<StatisticsEngine>> statistics;
  std::map<std::pair<std::uint32_t, bool>, std::shared_ptr<const MassEngine>> mass;
};

}  // namespace weir::explain
