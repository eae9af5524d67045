#include "sys/signal.h"

#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>

#include <algorithm>

namespace weir::sys {

namespace {
sigset_t stop_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  return set;
}

/// A descriptor for these signals, which no longer do anything else; `before`: what was blocked.
Result<Fd> catch_signals(const sigset_t& set, sigset_t& before) {
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return fail_errno(errno, "signalfd");
  if (const int err = ::pthread_sigmask(SIG_BLOCK, &set, &before); err != 0) return fail_errno(err, "sigmask");
  return fd;
}

void take_signals(const Fd& fd) {
  signalfd_siginfo info;
  while (::read(fd.get(), &info, sizeof info) == sizeof info) {
  }
}
}  // namespace

Result<StopSignal> StopSignal::install() {
  sigset_t before;
  auto fd = catch_signals(stop_signals(), before);
  if (!fd) return pass(std::move(fd));
  return StopSignal(*std::move(fd), before);
}

StopSignal::StopSignal(StopSignal&& other) noexcept : fd_(std::move(other.fd_)), before_(other.before_) {}

StopSignal::~StopSignal() {
  if (!fd_.valid()) return;
  // What was asked for is answered: unblocking with it pending would kill the program after all.
  take_signals(fd_);
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool StopSignal::wait_for(std::chrono::nanoseconds at_most) const {
  using Steady = std::chrono::steady_clock;
  const auto deadline = Steady::now() + std::min<std::chrono::nanoseconds>(at_most, std::chrono::hours(24 * 365));
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Steady::now()).count();
    pollfd ready{fd_.get(), POLLIN, 0};
    const int got = ::poll(&ready, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000'000)));
    if (got > 0) return true;
    if (Steady::now() >= deadline) return false;
  }
}

Result<ResizeSignal> ResizeSignal::install() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGWINCH);
  sigset_t before;
  auto fd = catch_signals(set, before);
  if (!fd) return pass(std::move(fd));
  return ResizeSignal(*std::move(fd), before);
}

ResizeSignal::~ResizeSignal() {
  if (fd_.valid()) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void ResizeSignal::take() const {
  take_signals(fd_);
}

}  // namespace weir::sys
