// Pacer: how many packets are due now, by absolute deadlines, so that slow turns are made up for and no time is spun.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "sys/fd.h"

namespace weir::lab {

class Pacer {
 public:
  /// `per_second` > 0.
  static Result<Pacer> start(std::uint64_t per_second);

  /// Sleeps until the next deadline and returns how many are due, at least 1. After a long stall no more than a few
  /// ticks' worth are due: a burst of all that was missed would be another kind of traffic.
  std::uint64_t wait();

 private:
  Pacer(sys::Fd timer, std::uint64_t per_second, std::uint64_t tick_ns)
      : timer_(std::move(timer)), per_second_(per_second), tick_ns_(tick_ns) {}

  sys::Fd timer_;
  std::uint64_t per_second_;
  std::uint64_t tick_ns_;
  std::uint64_t remainder_ = 0;  ///< fractions of a packet left over, in packets * 1e9
};

}  // namespace weir::lab
