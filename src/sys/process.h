// Child processes: started, watched through a pidfd, never left behind.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace weir::sys {

/// How a process ended.
struct ExitStatus {
  int code = 0;    ///< exit code, when it exited
  int signal = 0;  ///< the signal that killed it, else 0
  [[nodiscard]] bool success() const { return code == 0 && signal == 0; }
};

struct SpawnOptions {
  /// Kill it (SIGKILL) when the *thread* that started it ends: PR_SET_PDEATHSIG. Start such a child from a thread that
  /// lives as long as it should.
  bool die_with_parent = false;
  int netns_fd = -1;       ///< enter this network namespace first; -1 for the caller's
  bool quiet = false;      ///< standard output and error go to /dev/null
  bool capture = false;    ///< standard output and error go to pipes, see out_fd() and err_fd()
  bool own_group = false;  ///< a process group of its own, so that kill_all() reaches its children too
};

/// A running child. Destroying it kills what still runs and reaps it, so none is ever left over.
class [[nodiscard]] Process {
 public:
  /// Starts argv[0], looked up in PATH. Errc::not_found when there is no such program. The child starts with no blocked
  /// signals.
  static Result<Process> spawn(const std::vector<std::string>& argv, const SpawnOptions& options = {});
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Readable once the process has ended: for poll(2).
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }
  [[nodiscard]] int out_fd() const { return out_.get(); }
  [[nodiscard]] int err_fd() const { return err_.get(); }

  /// Its end, or nullopt when it still runs after `at_most`.
  Result<std::optional<ExitStatus>> wait(std::chrono::nanoseconds at_most);
  /// Sends a signal; a process that has ended already is no error.
  Result<void> signal(int number);
  /// SIGKILL to it (and to its group, if it has one of its own).
  void kill_all();

 private:
  Process() = default;
  void finish() noexcept;
  pid_t pid_ = -1;
  bool own_group_ = false;
  Fd pidfd_;
  Fd out_;
  Fd err_;
  std::optional<ExitStatus> status_;
};

/// What a finished command gave.
struct CommandResult {
  ExitStatus status;
  std::string out;
  std::string err;
};

/// Runs a command to its end with both outputs captured. Errc::failed when it takes longer than `at_most`; it is killed
/// then. An exit code other than 0 is no error here.
Result<CommandResult> run_command(const std::vector<std::string>& argv, std::chrono::nanoseconds at_most,
                                  const SpawnOptions& options = {});

}  // namespace weir::sys
