// The part of the census that describes one namespace: its devices and sockets, its processes and whose they are.
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <map>

#include "base/text.h"
#include "netns/collector.h"
#include "sys/netlink.h"

namespace weir::netns::detail {

namespace {

constexpr std::size_t kMostNamed = 8;
constexpr std::size_t kMostDated = 64;

/// "sockets: used N" of /proc/net/sockstat: the sockets of every family, those of the kernel left out.
Result<std::uint64_t> count_sockets() {
  auto text = read_proc_file("/proc/thread-self/net/sockstat");
  if (!text) return pass(std::move(text));
  constexpr std::string_view kUsed = "sockets: used ";
  const std::size_t end = text->find('\n');
  const auto count = text->starts_with(kUsed)
                         ? parse_u64(trim(std::string_view(*text).substr(kUsed.size(), end - kUsed.size())))
                         : std::nullopt;
  if (!count) return fail(Errc::failed, "/proc/net/sockstat has an unknown form");
  return *count;
}

Result<std::vector<std::string>> read_device_names() {
  static constexpr sys::AttrRule kPolicy[] = {{IFLA_IFNAME, sys::AttrKind::string}};
  auto socket = sys::NetlinkSocket::open(NETLINK_ROUTE);
  if (!socket) return pass(std::move(socket));
  auto dump = socket->dump(sys::NetlinkRequest(RTM_GETLINK, 0, ifinfomsg{}).u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS),
                           "reading the devices");
  if (!dump) return pass(std::move(dump));
  std::vector<std::pair<int, std::string>> found;
  for (const sys::NetlinkMessage& message : dump->messages) {
    if (message.type() != RTM_NEWLINK) continue;
    const auto link = message.fixed<ifinfomsg>();
    auto attributes = message.attributes<ifinfomsg>(kPolicy);
    if (!link || !attributes) return fail(Errc::failed, "reading the devices: a broken answer");
    found.emplace_back(link->ifi_index, attributes->string(IFLA_IFNAME));
  }
  // A dump that had to be repeated by the kernel itself may name a device twice.
  std::ranges::sort(found);
  const auto twice = std::ranges::unique(found);
  found.erase(twice.begin(), twice.end());
  std::vector<std::string> names;
  for (auto& [index, name] : found) names.push_back(std::move(name));
  return names;
}

/// What the stat file of a process says, as far as the census cares.
struct ProcessStat {
  pid_t parent = 0;
  std::uint64_t start_ticks = 0;  ///< since boot
};

std::optional<ProcessStat> stat_of(pid_t pid) {
  const auto text = read_proc_file("/proc/" + std::to_string(pid) + "/stat");
  if (!text) return std::nullopt;
  const std::size_t after_name = text->rfind(')');
  if (after_name == std::string::npos) return std::nullopt;
  // Fields 4 and 22 of proc_pid_stat(5): the 2nd and the 20th after the name in parentheses.
  const auto fields = split(std::string_view(*text).substr(after_name), ' ');
  if (fields.size() <= 20) return std::nullopt;
  const auto parent = parse_u64(fields[2]);
  const auto ticks = parse_u64(fields[20]);
  if (!parent || !ticks) return std::nullopt;
  return ProcessStat{static_cast<pid_t>(*parent), *ticks};
}

std::chrono::nanoseconds clock_now(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

std::chrono::sys_time<std::chrono::nanoseconds> time_of_ticks(std::uint64_t ticks) {
  const auto per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  const auto booted = clock_now(CLOCK_REALTIME) - clock_now(CLOCK_BOOTTIME);
  return std::chrono::sys_time<std::chrono::nanoseconds>(
      booted + std::chrono::nanoseconds(ticks * (1'000'000'000 / per_second)));
}

/// The first processes of a namespace: reading thousands would tell little more.
std::map<pid_t, ProcessStat> stats_of(const std::vector<pid_t>& pids) {
  std::map<pid_t, ProcessStat> stats;
  for (std::size_t i = 0; i < std::min(pids.size(), kMostDated); ++i) {
    if (const auto stat = stat_of(pids[i])) stats.emplace(pids[i], *stat);
  }
  return stats;
}

/// The one process from which all the others descend; several that know nothing of each other have no speaker.
std::optional<Workload> common_ancestor(const std::map<pid_t, ProcessStat>& stats) {
  std::optional<pid_t> first;
  for (const auto& [pid, stat] : stats) {
    if (stats.contains(stat.parent)) continue;
    if (first) return std::nullopt;
    first = pid;
  }
  std::string comm = first ? comm_of(*first) : std::string();
  if (comm.empty()) return std::nullopt;
  return Workload{Workload::Kind::process, std::move(comm), std::to_string(*first), {}, {}};
}

std::optional<Workload> owner_of(const std::map<pid_t, ProcessStat>& stats) {
  std::vector<Workload> workloads;
  for (const auto& [pid, stat] : stats) {
    const auto text = read_proc_file("/proc/" + std::to_string(pid) + "/cgroup");
    auto workload = text ? workload_of_cgroup_file(*text) : std::nullopt;
    if (workload && workload->kind != Workload::Kind::session) workloads.push_back(std::move(*workload));
  }
  // Where cgroups name somebody, and be it several, processes have no say.
  return workloads.empty() ? common_ancestor(stats) : owner_of_shared(workloads);
}

}  // namespace

std::string comm_of(pid_t pid) {
  const auto text = read_proc_file("/proc/" + std::to_string(pid) + "/comm");
  return text ? std::string(trim(*text)) : std::string();
}

Result<void> look_inside(int fd, Resident& resident) {
  if (::setns(fd, CLONE_NEWNET) != 0) return fail_errno(errno, "entering it");
  // Before the netlink socket of this very look is one of them.
  auto sockets = count_sockets();
  if (sockets) resident.sockets = *sockets;
  auto devices = read_device_names();
  if (!devices) return pass(std::move(devices));
  resident.devices = std::move(*devices);
  if (!sockets) return pass(std::move(sockets));
  return {};
}

void describe_processes(Resident& resident) {
  if (resident.pids.empty()) return;
  for (std::size_t i = 0; i < std::min(resident.pids.size(), kMostNamed); ++i) {
    resident.processes.push_back({resident.pids[i], comm_of(resident.pids[i])});
  }
  if (resident.initial) resident.since.reset();  // a mount of it says nothing of its age
  const auto stats = stats_of(resident.pids);
  const auto first = std::ranges::min_element(stats, {}, [](const auto& one) { return one.second.start_ticks; });
  if (first == stats.end()) return;
  if (!resident.since) resident.since = {time_of_ticks(first->second.start_ticks), Since::Source::process};
  // The initial namespace belongs to the host, not to its first process.
  if (!resident.initial) resident.workload = owner_of(stats);
}

}  // namespace weir::netns::detail
