#include "observe/workloads/taps.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/text.h"
#include "netns/netns.h"
#include "observe/workloads/cgroups.h"
#include "observe/workloads/guests.h"
#include "observe/workloads/proc.h"
#include "observe/workloads/workload_ref.h"

namespace weir::observe {

namespace {

std::string of_process(pid_t pid, const std::string& below) {
  return "/proc/" + std::to_string(pid) + "/" + below;
}

/// The namespace of the device behind another process's descriptor: TUNGETDEVNETNS (Linux 5.2) of a copy of it, which
/// is closed at once.
std::optional<netns::Netns> ask_device(pid_t pid, int fd) {
  const sys::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) return std::nullopt;
  const sys::Fd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
  if (!copy.valid()) return std::nullopt;
  sys::Fd ns(::ioctl(copy.get(), TUNGETDEVNETNS));
  if (!ns.valid()) return std::nullopt;
  auto opened = netns::Netns::from_fd(std::move(ns));
  return opened ? std::optional(*std::move(opened)) : std::nullopt;
}

/// Where it is not allowed to ask, the device is taken to be where its holder lives.
std::optional<netns::Netns> home_of_tap(pid_t pid, int fd) {
  if (auto asked = ask_device(pid, fd)) return asked;
  auto home = netns::Netns::open("pid:" + std::to_string(pid));
  return home ? std::optional(*std::move(home)) : std::nullopt;
}

std::uint32_t index_in(const netns::Netns& ns, const std::string& name) {
  ifreq request{};
  if (name.size() >= sizeof request.ifr_name) return 0;
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  const auto socket = netns::open_socket(ns, AF_UNIX, SOCK_DGRAM, 0);
  if (!socket || ::ioctl(socket->get(), SIOCGIFINDEX, &request) != 0) return 0;
  return static_cast<std::uint32_t>(request.ifr_ifindex);
}

std::optional<HeldTap> held_by(pid_t pid, int fd, std::string_view device) {
  HeldTap tap;
  tap.pid = pid;
  // macvtap has a device file for each device, "/dev/tapIFINDEX", which belongs where its opener lives.
  const auto number = device.starts_with("/dev/tap") ? parse_u64(device.substr(8)) : std::nullopt;
  if (device != "/dev/net/tun" && !number) return std::nullopt;
  if (number) {
    const auto home = netns::Netns::open("pid:" + std::to_string(pid));
    if (!home) return std::nullopt;
    tap.netns = home->id();
    tap.ifindex = static_cast<std::uint32_t>(*number);
    return tap;
  }
  const auto fdinfo = proc::text(of_process(pid, "fdinfo/" + std::to_string(fd)));
  if (!fdinfo) return std::nullopt;
  tap.name = tap_of_fdinfo(*fdinfo);
  if (tap.name.empty()) return std::nullopt;
  const auto home = home_of_tap(pid, fd);
  if (!home) return std::nullopt;
  tap.netns = home->id();
  tap.ifindex = index_in(*home, tap.name);
  return tap;
}

bool is_vm(const model::WorkloadRef& workload) {
  return workload.kind == netns::to_string(netns::Workload::Kind::vm);
}

void add(std::vector<HeldTap>& taps, HeldTap tap) {
  const auto same = std::ranges::find_if(taps, [&](const HeldTap& one) {
    return one.netns == tap.netns && one.ifindex == tap.ifindex && one.name == tap.name;
  });
  if (same == taps.end()) {
    taps.push_back(std::move(tap));
  } else if (!is_vm(same->workload) && is_vm(tap.workload)) {
    *same = std::move(tap);
  }
}

}  // namespace

std::string_view tap_of_fdinfo(std::string_view fdinfo) {
  for (const std::string_view line : split(fdinfo, '\n')) {
    if (line.starts_with("iff:")) return trim(line.substr(4));
  }
  return {};
}

model::WorkloadRef workload_behind_tap(pid_t pid) {
  const auto around = workload_of_process(pid);
  const bool is_machine = around && around->kind == netns::Workload::Kind::vm;
  const auto cmdline = proc::text(of_process(pid, "cmdline"));
  if (const auto guest = cmdline ? guest_of_command(*cmdline) : std::nullopt) {
    netns::Workload machine = is_machine ? *around
                                         : netns::Workload{.kind = netns::Workload::Kind::vm,
                                                           .name = guest->name,
                                                           .id = std::to_string(pid),
                                                           .pod = around ? around->pod : std::string(),
                                                           .runtime = guest->monitor};
    if (!guest->id.empty()) machine.id = guest->id;
    return workload_ref(machine);
  }
  if (around && (around->walled() || around->kind == netns::Workload::Kind::service)) return workload_ref(*around);
  const auto comm = proc::text(of_process(pid, "comm"));
  return {netns::to_string(netns::Workload::Kind::process),
          comm ? std::string(trim(*comm)) : std::string(),
          std::to_string(pid),
          {},
          {}};
}

std::vector<HeldTap> find_held_taps() {
  std::vector<HeldTap> taps;
  for (const pid_t pid : proc::numbers("/proc")) {
    std::optional<model::WorkloadRef> workload;
    for (const int fd : proc::numbers(of_process(pid, "fd"))) {
      auto tap = held_by(pid, fd, proc::link(of_process(pid, "fd/" + std::to_string(fd))));
      if (!tap) continue;
      if (!workload) workload = workload_behind_tap(pid);
      if (workload->name.empty()) break;
      tap->workload = *workload;
      add(taps, *std::move(tap));
    }
  }
  return taps;
}

}  // namespace weir::observe
