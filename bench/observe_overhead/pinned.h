// One thread on one CPU.
#pragma once

#include <fmt/format.h>
#include <sched.h>

#include <utility>

#include "base/result.h"

namespace weir::bench {

/// Keeps the calling thread on one CPU for its lifetime. Processes that it starts meanwhile inherit that.
class Pinned {
 public:
  static Result<Pinned> on(int cpu) {
    Pinned pinned;
    if (::sched_getaffinity(0, sizeof pinned.before_, &pinned.before_) != 0) {
      return fail_errno(errno, "cannot read the CPU affinity");
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (::sched_setaffinity(0, sizeof one, &one) != 0) {
      return fail_errno(errno, fmt::format("cannot run on CPU {}", cpu));
    }
    pinned.owns_ = true;
    return pinned;
  }
  Pinned(Pinned&& other) noexcept : before_(other.before_), owns_(std::exchange(other.owns_, false)) {}
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  Pinned& operator=(Pinned&&) = delete;
  ~Pinned() {
    if (owns_) ::sched_setaffinity(0, sizeof before_, &before_);
  }

 private:
  Pinned() = default;
  cpu_set_t before_{};
  bool owns_ = false;
};

}  // namespace weir::bench
