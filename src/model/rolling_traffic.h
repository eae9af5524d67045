// The traffic of one workload and direction over every horizon, in bounded memory.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>

#include "model/footprint.h"
#include "model/traffic_summary.h"

namespace weir::model {

/// Time goes into buckets of a second; what has become full is merged into the longer buckets of the next horizon, and
/// so on. A horizon is forgotten a bucket at a time, so it looks back up to one bucket farther than it says. Time here
/// is watched time: that of the windows which were fed, one after the other.
class RollingTraffic {
 public:
  /// The bucket that a window beginning at `now` goes into. Calls go forward in time.
  TrafficSummary& open(std::chrono::nanoseconds now);
  [[nodiscard]] TrafficSummary summary(std::size_t horizon, std::chrono::nanoseconds now) const;
  /// Only what adds up, which is quick.
  [[nodiscard]] TrafficTotals totals(std::size_t horizon, std::chrono::nanoseconds now) const;

 private:
  struct Bucket {
    std::int64_t number = -1;  ///< -1: nothing in it
    TrafficSummary summary;
  };
  struct Level {
    std::deque<Bucket> closed;
    Bucket open;
  };
  void absorb(std::size_t horizon, std::int64_t begin_s, const TrafficSummary& summary);
  void close(std::size_t horizon);
  template <class Visit>
  void visit(std::size_t horizon, std::chrono::nanoseconds now, Visit&& each) const;

  std::array<Level, kFootprintHorizons.size()> levels_;
};

}  // namespace weir::model
