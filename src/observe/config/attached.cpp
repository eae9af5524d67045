#include "observe/config/attached.h"

#include <linux/bpf.h>
#include <linux/sock_diag.h>
#include <linux/xdp_diag.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "base/text.h"
#include "sys/file_tree.h"
#include "sys/netlink.h"

namespace weir::observe::config {

namespace {

using model::TcFilter;

// Linux 6.6, include/uapi/linux/bpf.h; younger than Debian 12's headers.
constexpr std::uint32_t kTcxIngress = 46;
constexpr std::uint32_t kTcxEgress = 47;
constexpr std::uint32_t kMostPrograms = 64;  // BPF_MPROG_MAX

long bpf(int command, bpf_attr& attr) {
  return ::syscall(SYS_bpf, command, &attr, sizeof attr);
}

std::string program_name(std::uint32_t id) {
  bpf_attr by_id{};
  by_id.prog_id = id;
  const sys::Fd program(static_cast<int>(bpf(BPF_PROG_GET_FD_BY_ID, by_id)));
  if (!program.valid()) return {};
  bpf_prog_info info{};
  bpf_attr ask{};
  ask.info.bpf_fd = static_cast<std::uint32_t>(program.get());
  ask.info.info_len = sizeof info;
  ask.info.info = reinterpret_cast<std::uintptr_t>(&info);
  if (bpf(BPF_OBJ_GET_INFO_BY_FD, ask) != 0) return {};
  return {info.name, ::strnlen(info.name, sizeof info.name)};
}

/// The ids at one hook, in the order in which they run. The kernel takes the ifindex in the caller's namespace.
Result<std::vector<std::uint32_t>> programs_at(std::uint32_t ifindex, std::uint32_t attach_type) {
  std::vector<std::uint32_t> ids(kMostPrograms);
  bpf_attr attr{};
  attr.query.target_fd = ifindex;
  attr.query.attach_type = attach_type;
  attr.query.prog_ids = reinterpret_cast<std::uintptr_t>(ids.data());
  attr.query.prog_cnt = kMostPrograms;
  if (bpf(BPF_PROG_QUERY, attr) != 0) {
    if (errno == ENOENT || errno == ENODEV) return std::vector<std::uint32_t>{};  // nothing attached; device gone
    return fail_errno(errno, "tcx");
  }
  ids.resize(std::min(attr.query.prog_cnt, kMostPrograms));
  return ids;
}

/// False when asking further devices is of no use.
bool read_tcx_of(model::DeviceConfig& device) {
  for (const auto& [hook, type] :
       {std::pair{TcFilter::Hook::ingress, kTcxIngress}, std::pair{TcFilter::Hook::egress, kTcxEgress}}) {
    auto ids = programs_at(device.ref.ifindex.value, type);
    if (!ids) {
      if (ids.error().sys_errno == EINVAL) return false;  // this kernel has no tcx
      device.unread.push_back(ids.error().message);
      return true;
    }
    for (const std::uint32_t id : *ids) device.tcx.push_back({hook, id, program_name(id)});
  }
  return true;
}

/// How many AF_XDP sockets the thread's namespace has: the third column of the XDP line of /proc/net/protocols.
std::uint64_t count_xsk() {
  const auto proc = sys::FileTree::open("/proc/thread-self/net");
  const auto table = proc ? proc->text("protocols") : Result<std::string>(fail(Errc::not_found, "protocols"));
  if (!table) return 0;
  for (const std::string_view line : split(*table, '\n')) {
    std::vector<std::string_view> words;
    for (const std::string_view word : split(line, ' ')) {
      if (!word.empty()) words.push_back(word);
    }
    if (words.size() > 2 && words[0] == "XDP") return parse_u64(words[2]).value_or(0);
  }
  return 0;
}

/// The devices to which AF_XDP sockets are bound.
Result<std::set<std::uint32_t>> devices_with_xsk(const netns::Netns& ns) {
  constexpr std::array<sys::AttrRule, 1> kPolicy{{{XDP_DIAG_INFO, sys::AttrKind::binary, sizeof(xdp_diag_info)}}};
  auto fd = netns::open_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
  if (!fd) return pass(std::move(fd));
  auto socket = sys::NetlinkSocket::adopt(std::move(*fd));
  if (!socket) return pass(std::move(socket));
  xdp_diag_req request{};
  request.sdiag_family = AF_XDP;
  request.xdiag_show = XDP_SHOW_INFO;
  auto dump = socket->dump(sys::NetlinkRequest(SOCK_DIAG_BY_FAMILY, 0, request), "xdp_diag");
  if (!dump) return pass(std::move(dump));
  std::set<std::uint32_t> devices;
  for (const sys::NetlinkMessage& message : dump->messages) {
    auto attributes = message.attributes<xdp_diag_msg>(kPolicy);
    if (!attributes) return pass(std::move(attributes));
    if (!attributes->has(XDP_DIAG_INFO)) continue;
    xdp_diag_info info{};
    std::memcpy(&info, attributes->bytes(XDP_DIAG_INFO).data(), sizeof info);
    devices.insert(info.ifindex);
  }
  return devices;
}

}  // namespace

void read_tcx(const netns::Netns& ns, std::vector<model::DeviceConfig>& devices) {
  auto read = netns::run_in(ns, [&]() -> Result<void> {
    for (model::DeviceConfig& device : devices) {
      if (!read_tcx_of(device)) break;
    }
    return {};
  });
  if (read) return;
  for (model::DeviceConfig& device : devices) device.unread.push_back("tcx: " + read.error().message);
}

void read_xsk(const netns::Netns& ns, std::vector<model::DeviceConfig>& devices) {
  std::uint64_t sockets = 0;
  const auto counted = netns::run_in(ns, [&]() -> Result<void> {
    sockets = count_xsk();
    return {};
  });
  // Asking xdp_diag for nothing could load a kernel module for nothing.
  if (!counted || sockets == 0) return;
  const auto bound = devices_with_xsk(ns);
  for (model::DeviceConfig& device : devices) {
    if (bound) {
      device.has_xsk = bound->contains(device.ref.ifindex.value);
    } else if (!device.loopback) {
      device.unread.push_back("af_xdp: " + std::to_string(sockets) +
                              " sockets in this namespace, but this kernel does not say on which device (" +
                              bound.error().message + ")");
    }
  }
}

}  // namespace weir::observe::config
