// The part of the census that describes one namespace: its devices and sockets, its processes and whose they are.
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <ranges>

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

/// When a process started: field 22 of stat, in ticks since boot (the 20th after the name in parentheses).
std::optional<std::uint64_t> start_ticks(pid_t pid) {
  const auto text = read_proc_file("/proc/" + std::to_string(pid) + "/stat");
  if (!text) return std::nullopt;
  const std::size_t after_name = text->rfind(')');
  if (after_name == std::string::npos) return std::nullopt;
  const auto fields = split(std::string_view(*text).substr(after_name), ' ');
  return fields.size() > 20 ? parse_u64(fields[20]) : std::nullopt;
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

/// The process of `pids` that started first, among the first ones: reading thousands would tell little more.
std::optional<std::pair<std::uint64_t, pid_t>> oldest(const std::vector<pid_t>& pids) {
  std::optional<std::pair<std::uint64_t, pid_t>> best;
  for (std::size_t i = 0; i < std::min(pids.size(), kMostDated); ++i) {
    const auto ticks = start_ticks(pids[i]);
    if (ticks && (!best || std::pair(*ticks, pids[i]) < *best)) best.emplace(*ticks, pids[i]);
  }
  return best;
}

std::optional<Workload> workload_of(pid_t pid) {
  if (const auto text = read_proc_file("/proc/" + std::to_string(pid) + "/cgroup")) {
    for (const std::string_view line : split(*text, '\n')) {
      // "ID:CONTROLLERS:PATH"; of the old hierarchies any one will do.
      const std::size_t path = line.find(':', line.find(':') + 1);
      if (path == std::string_view::npos) continue;
      if (auto workload = workload_of_cgroup(line.substr(path + 1))) return workload;
    }
  }
  std::string comm = comm_of(pid);
  if (comm.empty()) return std::nullopt;
  return Workload{Workload::Kind::process, std::move(comm), std::to_string(pid)};
}

bool is_container_id(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
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
  const auto first = oldest(resident.pids);
  if (!first) return;
  if (!resident.since) resident.since = {time_of_ticks(first->first), Since::Source::process};
  // The initial namespace belongs to the host, not to its first process.
  if (!resident.initial) resident.workload = workload_of(first->second);
}

}  // namespace weir::netns::detail

namespace weir::netns {

std::optional<Workload> workload_of_cgroup(std::string_view path) {
  const auto parts = split(path, '/');
  // From the inside: the innermost container, else the innermost service.
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    std::string_view name = *part;
    if (name.ends_with(".scope")) name.remove_suffix(6);
    const std::size_t dash = name.rfind('-');
    const std::string_view id = dash == std::string_view::npos ? name : name.substr(dash + 1);
    if (!detail::is_container_id(id)) continue;
    // docker-ID.scope, cri-containerd-ID.scope, crio-ID.scope, libpod-ID.scope; /docker/ID without systemd.
    std::string_view runtime = dash == std::string_view::npos ? std::string_view("container") : name.substr(0, dash);
    if (dash == std::string_view::npos && std::ranges::find(parts, "docker") != parts.end()) runtime = "docker";
    return Workload{Workload::Kind::container, std::string(runtime) + "-" + std::string(id.substr(0, 12)),
                    std::string(id)};
  }
  for (const std::string_view part : std::views::reverse(parts)) {
    if (part.ends_with(".service")) return Workload{Workload::Kind::service, std::string(part), std::string(part)};
  }
  return std::nullopt;
}

}  // namespace weir::netns
