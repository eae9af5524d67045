// Waiting for a condition that nobody announces.
#pragma once

#include <poll.h>

#include <chrono>

namespace weir::sys {

/// Asks `condition` every 5 ms until it holds; false when it does not before `deadline`. For what has no event to wait
/// for: counters of the kernel, files of other processes, locks that are given back.
template <class Condition>
[[nodiscard]] bool poll_until(std::chrono::steady_clock::time_point deadline, Condition&& condition) {
  constexpr int kPauseMs = 5;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    ::poll(nullptr, 0, kPauseMs);
  }
  return true;
}

}  // namespace weir::sys
