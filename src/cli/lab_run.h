// Running a command beside a lab, and ending both in order when a signal comes.
#pragma once

#include <chrono>
#include <csignal>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"

namespace weir::cli {

/// While it lives, SIGINT, SIGTERM and SIGHUP wait to be asked for instead of ending the process, and SIGCHLD can be
/// waited for.
class HeldSignals {
 public:
  HeldSignals();
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;
  ~HeldSignals();

  /// One of the ending signals has come.
  [[nodiscard]] bool pending() const;
  /// Returns when `span` is over, an ending signal has come, or `healthy` (asked ten times a second) fails.
  [[nodiscard]] Result<Exit> wait(std::chrono::nanoseconds span, const std::function<Result<void>()>& healthy) const;
  [[nodiscard]] const sigset_t& set() const { return held_; }
  [[nodiscard]] const sigset_t& before() const { return before_; }

 private:
  sigset_t held_{};
  sigset_t before_{};
};

/// Runs `command` with WEIR_LAB=`document` in its environment until it ends, and returns its exit code (128 + N when
/// signal N ended it). It is ended when `limit` passes (Errc::failed), when this process is told to end, and by the
/// kernel when this process dies. Errc::usage when there is no such program.
Result<Exit> run_beside(const std::vector<std::string>& command, const std::string& document,
                        std::optional<std::chrono::nanoseconds> limit, const HeldSignals& signals);

}  // namespace weir::cli
