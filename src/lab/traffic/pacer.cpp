#include "lab/traffic/pacer.h"

#include <sys/timerfd.h>

#include <algorithm>

namespace weir::lab {

namespace {
constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kLeastTickNs = 2'000'000;  // 500 wake-ups a second cost nothing to speak of
constexpr std::uint64_t kMostTicks = 10;
}  // namespace

Result<Pacer> Pacer::start(std::uint64_t per_second) {
  const std::uint64_t tick_ns = std::max(kLeastTickNs, kSecondNs / per_second);
  sys::Fd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  if (!timer.valid()) return fail_errno(errno, "timerfd_create");
  const timespec span{static_cast<time_t>(tick_ns / kSecondNs), static_cast<long>(tick_ns % kSecondNs)};
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const itimerspec schedule{span, now};  // the first deadline is now, the others follow without drift
  if (timerfd_settime(timer.get(), TFD_TIMER_ABSTIME, &schedule, nullptr) != 0) {
    return fail_errno(errno, "timerfd_settime");
  }
  return Pacer(std::move(timer), per_second, tick_ns);
}

std::uint64_t Pacer::wait() {
  for (;;) {
    std::uint64_t ticks = 0;
    if (read(timer_.get(), &ticks, sizeof(ticks)) != sizeof(ticks)) continue;  // interrupted
    remainder_ += std::min(ticks, kMostTicks) * tick_ns_ * per_second_;
    const std::uint64_t due = remainder_ / kSecondNs;
    remainder_ %= kSecondNs;
    if (due > 0) return due;
  }
}

}  // namespace weir::lab
