#include "sys/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <utility>

namespace weir::sys {

namespace {

using Steady = std::chrono::steady_clock;

struct Pipe {
  Fd read;
  Fd write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

/// Everything between fork and exec: only async-signal-safe calls, because other threads may hold locks.
struct ChildPlan {
  const SpawnOptions& options;
  char* const* argv;
  pid_t parent;
  int out;
  int err;
  int report;

  [[noreturn]] void give_up() const {
    const int err_number = errno;
    [[maybe_unused]] const auto written = ::write(report, &err_number, sizeof err_number);
    ::_exit(127);
  }

  [[noreturn]] void run() const {
    if (options.die_with_parent) {
      if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) give_up();
      if (::getppid() != parent) ::_exit(127);  // it died before prctl
    }
    if (options.own_group) ::setpgid(0, 0);
    if (options.netns_fd >= 0 && ::setns(options.netns_fd, CLONE_NEWNET) != 0) give_up();
    if (out >= 0 && ::dup2(out, STDOUT_FILENO) < 0) give_up();
    if (err >= 0 && ::dup2(err, STDERR_FILENO) < 0) give_up();
    ::signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execvp(argv[0], argv);
    give_up();
  }
};

/// Milliseconds for poll(2), rounded up so that it does not spin at the end.
int poll_ms(Steady::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Steady::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000'000));
}

Steady::time_point deadline_after(std::chrono::nanoseconds at_most) {
  // Not max(): adding to the present would overflow.
  constexpr auto kForever = std::chrono::hours(24 * 365);
  return Steady::now() + std::min<std::chrono::nanoseconds>(at_most, kForever);
}

/// Reads what there is; false at the end of the stream.
bool drain(int fd, std::string* into) {
  std::array<char, 16384> block;
  const ssize_t got = ::read(fd, block.data(), block.size());
  if (got > 0) into->append(block.data(), static_cast<std::size_t>(got));
  return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

}  // namespace

Result<Process> Process::spawn(const std::vector<std::string>& argv, const SpawnOptions& options) {
  if (argv.empty()) return fail(Errc::usage, "no command to run");
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  auto report = make_pipe();
  if (!report) return pass(std::move(report));
  Pipe out;
  Pipe err;
  if (options.capture) {
    auto made_out = make_pipe();
    if (!made_out) return pass(std::move(made_out));
    auto made_err = make_pipe();
    if (!made_err) return pass(std::move(made_err));
    out = std::move(*made_out);
    err = std::move(*made_err);
  } else if (options.quiet) {
    out.write = Fd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    err.write = Fd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  }
  const ChildPlan plan{options, words.data(), ::getpid(), out.write.get(), err.write.get(), report->write.get()};
  Process process;
  process.pid_ = ::fork();
  if (process.pid_ < 0) return fail_errno(errno, "starting " + argv[0]);
  if (process.pid_ == 0) plan.run();
  process.own_group_ = options.own_group;
  if (options.own_group) ::setpgid(process.pid_, process.pid_);  // both sides: whoever comes first
  report->write.reset();
  int err_number = 0;
  ssize_t got = 0;
  do {
    got = ::read(report->read.get(), &err_number, sizeof err_number);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof err_number) return fail_errno(err_number, "running " + argv[0]);
  process.pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid_, 0)));
  if (!process.pidfd_.valid()) return fail_errno(errno, "pidfd of " + argv[0]);
  process.out_ = std::move(out.read);
  process.err_ = std::move(err.read);
  return process;
}

Process::Process(Process&& other) noexcept {
  *this = std::move(other);
}

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  finish();
  pid_ = std::exchange(other.pid_, -1);
  own_group_ = other.own_group_;
  pidfd_ = std::move(other.pidfd_);
  out_ = std::move(other.out_);
  err_ = std::move(other.err_);
  status_ = std::exchange(other.status_, std::nullopt);
  return *this;
}

Process::~Process() {
  finish();
}

void Process::finish() noexcept {
  if (pid_ <= 0 || status_) return;
  kill_all();
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

Result<std::optional<ExitStatus>> Process::wait(std::chrono::nanoseconds at_most) {
  if (status_) return status_;
  const auto deadline = deadline_after(at_most);
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended < 0 && errno != EINTR) return fail_errno(errno, "waiting for process " + std::to_string(pid_));
    if (ended == pid_) {
      status_ = WIFSIGNALED(status) ? ExitStatus{0, WTERMSIG(status)} : ExitStatus{WEXITSTATUS(status), 0};
      return status_;
    }
    if (Steady::now() >= deadline) return std::nullopt;
    pollfd ready{pidfd_.get(), POLLIN, 0};
    ::poll(&ready, 1, poll_ms(deadline));
  }
}

Result<void> Process::signal(int number) {
  if (status_) return {};
  if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0) == 0 || errno == ESRCH) return {};
  return fail_errno(errno, "signalling process " + std::to_string(pid_));
}

void Process::kill_all() {
  if (pid_ <= 0 || status_) return;  // once reaped the number may be somebody else's
  if (own_group_) ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);
}

Result<CommandResult> run_command(const std::vector<std::string>& argv, std::chrono::nanoseconds at_most,
                                  const SpawnOptions& options) {
  SpawnOptions captured = options;
  captured.capture = true;
  captured.own_group = true;
  const auto deadline = deadline_after(at_most);
  auto process = Process::spawn(argv, captured);
  if (!process) return pass(std::move(process));
  CommandResult result;
  std::array<pollfd, 2> streams{{{process->out_fd(), POLLIN, 0}, {process->err_fd(), POLLIN, 0}}};
  while (streams[0].fd >= 0 || streams[1].fd >= 0) {
    if (Steady::now() >= deadline) {
      return fail(Errc::failed, argv[0] + " did not end in time and was killed");
    }
    if (::poll(streams.data(), streams.size(), poll_ms(deadline)) <= 0) continue;
    if (streams[0].revents != 0 && !drain(streams[0].fd, &result.out)) streams[0].fd = -1;
    if (streams[1].revents != 0 && !drain(streams[1].fd, &result.err)) streams[1].fd = -1;
  }
  auto status = process->wait(deadline - Steady::now());
  if (!status) return pass(std::move(status));
  if (!*status) return fail(Errc::failed, argv[0] + " did not end in time and was killed");
  result.status = **status;
  return result;
}

}  // namespace weir::sys
