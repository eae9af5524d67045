// Clocks as values that are passed in, so that tests drive time themselves.
#pragma once

#include <chrono>

namespace weir {

/// Source of time. `monotonic` is CLOCK_MONOTONIC, what the BPF side's bpf_ktime_get_ns() reads; `realtime` is UTC.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual std::chrono::nanoseconds monotonic() const = 0;
  [[nodiscard]] virtual std::chrono::sys_time<std::chrono::nanoseconds> realtime() const = 0;
};

}  // namespace weir
