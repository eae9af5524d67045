// Programs that tests start: with their output at hand while they run, and killed at the end whatever happens.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "sys/fd.h"
#include "sys/poll_until.h"

namespace weir::test {

/// Polls until `condition` holds; false when it does not within `timeout`.
template <class Condition>
[[nodiscard]] bool eventually(Condition&& condition, std::chrono::nanoseconds timeout = std::chrono::seconds(10)) {
  return sys::poll_until(std::chrono::steady_clock::now() + timeout, condition);
}

struct Outcome {
  int code = -1;  ///< exit code; 128 + N when signal N ended it; -1 when it had to be killed after the timeout
  std::string out;
  std::string err;
};

/// A running program. Destruction kills it.
class Process {
 public:
  /// `command[0]` is looked up in PATH.
  explicit Process(std::vector<std::string> command)
      : out_(memfd_create("out", MFD_CLOEXEC)), err_(memfd_create("err", MFD_CLOEXEC)) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out_.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err_.get(), STDERR_FILENO);
    std::vector<char*> argv;
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int err = posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (err != 0) {
      pid_ = -1;
      ADD_FAILURE() << "cannot start " << command[0] << ": errno " << err;
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }
  [[nodiscard]] std::string out() const { return contents(out_); }
  [[nodiscard]] std::string err() const { return contents(err_); }

  Outcome wait(std::chrono::nanoseconds timeout = std::chrono::seconds(60)) {
    Outcome outcome;
    if (pid_ <= 0) return outcome;
    int status = 0;
    const bool ended = eventually([&] { return waitpid(pid_, &status, WNOHANG) == pid_; }, timeout);
    if (!ended) {
      ADD_FAILURE() << "process " << pid_ << " did not end in time";
      ::kill(pid_, SIGKILL);
      waitpid(pid_, &status, 0);
    }
    pid_ = -1;
    if (ended) outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    outcome.out = out();
    outcome.err = err();
    return outcome;
  }

 private:
  static std::string contents(const sys::Fd& fd) {
    std::string text;
    std::array<char, 4096> chunk;
    ssize_t got = 0;
    while ((got = pread(fd.get(), chunk.data(), chunk.size(), static_cast<off_t>(text.size()))) > 0) {
      text.append(chunk.data(), static_cast<std::size_t>(got));
    }
    return text;
  }

  sys::Fd out_;
  sys::Fd err_;
  pid_t pid_ = -1;
};

/// Runs a program to its end.
[[nodiscard]] inline Outcome run(std::vector<std::string> command,
                                 std::chrono::nanoseconds timeout = std::chrono::seconds(60)) {
  return Process(std::move(command)).wait(timeout);
}

/// Runs the weir of this build.
[[nodiscard]] inline Outcome run_weir(std::vector<std::string> arguments,
                                      std::chrono::nanoseconds timeout = std::chrono::seconds(60)) {
  arguments.insert(arguments.begin(), WEIR_BINARY);
  return run(std::move(arguments), timeout);
}

}  // namespace weir::test
