// SIGINT and SIGTERM as something to wait for, so that long commands end cleanly and print what they have.
#pragma once

#include <signal.h>

#include <chrono>

#include "base/result.h"
#include "sys/fd.h"

namespace weir::sys {

/// While it exists, SIGINT and SIGTERM do not kill the program but make `fd()` readable. Make it in main(), before the
/// first thread: the blocked signals are inherited by threads started later. Children of Process start unblocked.
class [[nodiscard]] StopSignal {
 public:
  static Result<StopSignal> install();
  StopSignal(StopSignal&& other) noexcept;
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  StopSignal& operator=(StopSignal&&) = delete;
  ~StopSignal();

  /// Readable once a stop was asked for: for epoll and poll(2). Never read it yourself.
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool requested() const { return wait_for(std::chrono::nanoseconds::zero()); }
  /// Waits for a stop at most that long; whether one was asked for. It stays asked for.
  [[nodiscard]] bool wait_for(std::chrono::nanoseconds at_most) const;

 private:
  StopSignal(Fd fd, const sigset_t& before) : fd_(std::move(fd)), before_(before) {}
  Fd fd_;
  sigset_t before_{};
};

/// While it exists, SIGWINCH (the terminal has another size) makes `fd()` readable. As StopSignal otherwise; of two,
/// the one that was made last goes first.
class [[nodiscard]] ResizeSignal {
 public:
  static Result<ResizeSignal> install();
  ResizeSignal(ResizeSignal&&) noexcept = default;
  ResizeSignal(const ResizeSignal&) = delete;
  ResizeSignal& operator=(const ResizeSignal&) = delete;
  ResizeSignal& operator=(ResizeSignal&&) = delete;
  ~ResizeSignal();

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Takes what has come: fd() is readable again with the next one.
  void take() const;

 private:
  ResizeSignal(Fd fd, const sigset_t& before) : fd_(std::move(fd)), before_(before) {}
  Fd fd_;
  sigset_t before_{};
};

}  // namespace weir::sys
