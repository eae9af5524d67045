#include "cli/lab_run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>

#include "base/units.h"
#include "sys/fd.h"

namespace weir::cli {

namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::array<int, 3> kEnding{SIGINT, SIGTERM, SIGHUP};
constexpr auto kGrace = std::chrono::seconds(5);  // for a command that was told to end

/// Waits for one of the held signals; 0 when `until` has passed.
int next_signal(const sigset_t& set, SteadyClock::time_point until, siginfo_t& info) {
  for (;;) {
    const auto left = std::max(std::chrono::nanoseconds(0), std::chrono::nanoseconds(until - SteadyClock::now()));
    const timespec span{static_cast<time_t>(left.count() / 1'000'000'000),
                        static_cast<long>(left.count() % 1'000'000'000)};
    const int signal = sigtimedwait(&set, &info, &span);
    if (signal > 0) return signal;
    if (errno != EINTR) return 0;
  }
}

/// So that `weir` in the command is this very program, installed or not.
void put_own_folder_first_in_path() {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  if (ignored) return;
  const char* path = getenv("PATH");
  setenv("PATH", fmt::format("{}:{}", self.parent_path().string(), path == nullptr ? "/usr/bin:/bin" : path).c_str(),
         1);
}

[[noreturn]] void exec_command(const std::vector<std::string>& command, const std::string& document,
                               const sigset_t& mask, pid_t parent, int error_fd) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  setenv("WEIR_LAB", document.c_str(), 1);
  put_own_folder_first_in_path();
  std::vector<std::string> words = command;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  const int err = errno;
  static_cast<void>(!write(error_fd, &err, sizeof(err)));
  _exit(127);
}

/// The errno of a failed exec, 0 when the command runs: the pipe closes with the exec.
int exec_error(const sys::Fd& pipe) {
  int err = 0;
  ssize_t got = 0;
  while ((got = read(pipe.get(), &err, sizeof(err))) < 0 && errno == EINTR) {
  }
  return got == sizeof(err) ? err : 0;
}

struct Ended {
  int status = 0;
  bool by_limit = false;
};

/// Waits for the child; passes ending signals on, and kills what does not listen.
Ended wait_for(pid_t pid, std::optional<std::chrono::nanoseconds> limit, const HeldSignals& signals) {
  Ended ended;
  auto until = limit ? SteadyClock::now() + *limit : SteadyClock::time_point::max();
  bool told = false;
  while (waitpid(pid, &ended.status, WNOHANG) != pid) {
    siginfo_t info{};
    // In slices, for a SIGCHLD that was merged with the one of another child.
    const auto slice = std::min(until, SteadyClock::now() + std::chrono::milliseconds(200));
    const int signal = next_signal(signals.set(), slice, info);
    const bool over = signal == 0 && SteadyClock::now() >= until;
    if (over && told) {
      kill(pid, SIGKILL);
    } else if (over) {
      ended.by_limit = true;
      kill(pid, SIGTERM);
    } else if (std::ranges::find(kEnding, signal) != kEnding.end()) {
      // A Ctrl-C reached the command already: the terminal sends it to the whole foreground group.
      if (info.si_code != SI_KERNEL) kill(pid, signal);
    } else {
      continue;
    }
    if (!told || over) until = SteadyClock::now() + kGrace;
    told = true;
  }
  return ended;
}

}  // namespace

HeldSignals::HeldSignals() {
  sigemptyset(&held_);
  for (const int signal : kEnding) sigaddset(&held_, signal);
  sigaddset(&held_, SIGCHLD);
  pthread_sigmask(SIG_BLOCK, &held_, &before_);
}

HeldSignals::~HeldSignals() {
  // What has come was obeyed by taking the lab down; it must not end the process before it returns its exit code.
  const timespec now{};
  while (sigtimedwait(&held_, nullptr, &now) > 0) {
  }
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool HeldSignals::pending() const {
  sigset_t waiting;
  sigpending(&waiting);
  return std::ranges::any_of(kEnding, [&](int signal) { return sigismember(&waiting, signal) == 1; });
}

Result<Exit> HeldSignals::wait(std::chrono::nanoseconds span, const std::function<Result<void>()>& healthy) const {
  const auto until = SteadyClock::now() + span;
  while (SteadyClock::now() < until) {
    siginfo_t info{};
    const int signal = next_signal(held_, std::min(until, SteadyClock::now() + std::chrono::milliseconds(100)), info);
    if (std::ranges::find(kEnding, signal) != kEnding.end()) return Exit::done;
    if (auto ok = healthy(); !ok) return pass(std::move(ok));
  }
  return Exit::done;
}

Result<Exit> run_beside(const std::vector<std::string>& command, const std::string& document,
                        std::optional<std::chrono::nanoseconds> limit, const HeldSignals& signals) {
  if (signals.pending()) return fail(Errc::failed, "interrupted before the command was started");
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
  const sys::Fd reading(ends[0]);
  sys::Fd writing(ends[1]);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return fail_errno(errno, "fork");
  if (pid == 0) exec_command(command, document, signals.before(), parent, writing.get());
  writing.reset();
  const int err = exec_error(reading);
  const Ended ended = wait_for(pid, limit, signals);
  if (err != 0) {
    Error error = errno_error(err, fmt::format("cannot run '{}'", command[0]));
    error.code = Errc::usage;
    return std::unexpected(std::move(error));
  }
  if (ended.by_limit) {
    return fail(Errc::failed,
                fmt::format("'{}' still ran after {} (--for) and was ended", command[0], format_duration(*limit)));
  }
  const int code = WIFEXITED(ended.status) ? WEXITSTATUS(ended.status) : 128 + WTERMSIG(ended.status);
  return static_cast<Exit>(code);
}

}  // namespace weir::cli
