#include "lab/traffic/generator.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <new>

#include "netns/netns.h"

namespace weir::lab {

namespace {

Result<void> run_loop(const TrafficPlan& plan, Stats& stats) {
  switch (plan.kind) {
    case TrafficKind::udp_flows:
      return send_udp_flows(plan, stats);
    case TrafficKind::tcp_bulk:
      return send_tcp_bulk(plan, stats);
    case TrafficKind::tcp_sink:
      return receive_tcp(plan, stats);
    case TrafficKind::tap_frames:
      return write_tap_frames(plan, stats);
    case TrafficKind::udp_echo:
      return echo_udp(plan, stats);
    case TrafficKind::request_response:
      return request_and_time(plan, stats);
    case TrafficKind::udp_sink:
      return receive_udp(plan, stats);
    case TrafficKind::udp_stalled:
      return leave_datagrams(plan, stats);
    case TrafficKind::tcp_stalled:
      return leave_connections(plan, stats);
    case TrafficKind::tcp_connects:
      return open_connections(plan, stats);
  }
  return fail(Errc::failed, "unknown kind of traffic");
}

/// Nothing of the parent's stays: not its signals, not its descriptors (the lab's lock among them), not its CPU.
Result<void> settle_in(const TrafficPlan& plan, int netns_fd) {
  setpgid(0, 0);  // a Ctrl-C is for the lab, which then ends us in order
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) std::signal(signal, SIG_DFL);
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (setns(netns_fd, CLONE_NEWNET) != 0) return fail_errno(errno, "entering " + plan.netns);
  close_range(3, ~0U, 0);
  prctl(PR_SET_NAME, "weir-traffic");
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max = std::max<rlim_t>(files.rlim_max, plan.flows + 64);
  setrlimit(RLIMIT_NOFILE, &files);
  if (!plan.cpu) return {};
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(*plan.cpu, &cpus);
  if (sched_setaffinity(0, sizeof(cpus), &cpus) != 0)
    return fail_errno(errno, fmt::format("pinning to CPU {}", *plan.cpu));
  return {};
}

[[noreturn]] void child_main(const TrafficPlan& plan, int netns_fd, pid_t parent, Stats& stats) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);  // it died before we could ask to be told
  Result<void> ended = settle_in(plan, netns_fd);
  if (ended) ended = run_loop(plan, stats);
  if (!ended) {
    const std::string& message = ended.error().message;
    std::copy_n(message.c_str(), std::min(message.size(), stats.failure.size() - 1), stats.failure.data());
    stats.failed = true;
  }
  _exit(1);
}

}  // namespace

void Generator::Unmap::operator()(Stats* stats) const {
  stats->~Stats();
  munmap(stats, sizeof(Stats));
}

Result<Generator> Generator::start(const TrafficPlan& plan) {
  auto netns = netns::Netns::open(plan.netns);
  if (!netns) return pass(std::move(netns));
  void* memory = mmap(nullptr, sizeof(Stats), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail_errno(errno, "mmap");
  std::unique_ptr<Stats, Unmap> stats(new (memory) Stats);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return fail_errno(errno, "fork");
  if (pid == 0) child_main(plan, netns->fd(), parent, *stats);
  return Generator(plan, pid, std::move(stats));
}

void Generator::stop() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

Result<void> Generator::alive() const {
  const std::string who = fmt::format("traffic of {} in {}", plan_.label, plan_.netns);
  if (stats_->failed) return fail(Errc::failed, who + ": " + stats_->failure.data());
  siginfo_t info{};
  if (pid_ > 0 && waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0) {
    return {};
  }
  if (stats_->failed) return fail(Errc::failed, who + ": " + stats_->failure.data());
  return fail(Errc::failed, who + " ended");
}

}  // namespace weir::lab
