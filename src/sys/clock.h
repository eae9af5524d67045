// The machine's clocks behind base::Clock.
#pragma once

#include "base/clock.h"

namespace weir::sys {

/// CLOCK_MONOTONIC and CLOCK_REALTIME of this machine.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::nanoseconds monotonic() const override {
    return std::chrono::steady_clock::now().time_since_epoch();
  }
  [[nodiscard]] std::chrono::sys_time<std::chrono::nanoseconds> realtime() const override {
    return std::chrono::system_clock::now();
  }
};

}  // namespace weir::sys
