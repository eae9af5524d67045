#include "model/rolling_traffic.h"

#include <utility>

namespace weir::model {

TrafficSummary& RollingTraffic::open(std::chrono::nanoseconds now) {
  const std::int64_t number = now / kFootprintHorizons[0].bucket;
  if (levels_[0].open.number != number) {
    close(0);
    levels_[0].open.number = number;
  }
  return levels_[0].open.summary;
}

/// The open bucket of a horizon is full: it counts there as long as the horizon is, and goes into the next one.
void RollingTraffic::close(std::size_t horizon) {
  Level& level = levels_[horizon];
  if (level.open.number < 0) return;
  const FootprintHorizon& shape = kFootprintHorizons[horizon];
  if (horizon + 1 < levels_.size()) absorb(horizon + 1, level.open.number * shape.bucket.count(), level.open.summary);
  level.closed.push_back(std::exchange(level.open, {}));
  const auto kept = static_cast<std::size_t>(shape.length / shape.bucket);
  if (level.closed.size() > kept) level.closed.pop_front();
}

void RollingTraffic::absorb(std::size_t horizon, std::int64_t begin_s, const TrafficSummary& summary) {
  Level& level = levels_[horizon];
  const std::int64_t number = begin_s / kFootprintHorizons[horizon].bucket.count();
  if (level.open.number != number) close(horizon);
  level.open.number = number;
  level.open.summary.merge(summary);
}

template <class Visit>
void RollingTraffic::visit(std::size_t horizon, std::chrono::nanoseconds now, Visit&& each) const {
  const FootprintHorizon& shape = kFootprintHorizons[horizon];
  for (const Bucket& bucket : levels_[horizon].closed) {
    if ((bucket.number + 1) * shape.bucket > now - shape.length) each(bucket.summary);
  }
  // What is open in a shorter horizon has not reached this one yet.
  for (std::size_t shorter = 0; shorter <= horizon; ++shorter) {
    if (levels_[shorter].open.number >= 0) each(levels_[shorter].open.summary);
  }
}

TrafficSummary RollingTraffic::summary(std::size_t horizon, std::chrono::nanoseconds now) const {
  TrafficSummary sum;
  visit(horizon, now, [&](const TrafficSummary& part) { sum.merge(part); });
  return sum;
}

TrafficTotals RollingTraffic::totals(std::size_t horizon, std::chrono::nanoseconds now) const {
  TrafficTotals sum;
  visit(horizon, now, [&](const TrafficSummary& part) { sum += part.totals; });
  return sum;
}

}  // namespace weir::model
