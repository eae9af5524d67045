#include "steer/tc.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

namespace weir::steer {

namespace {

using sys::AttrKind;
using sys::AttrRule;
using sys::NetlinkMessage;
using sys::NetlinkRequest;

constexpr AttrRule kLinkPolicy[] = {{IFLA_IFNAME, AttrKind::string}};
constexpr AttrRule kTcPolicy[] = {{TCA_KIND, AttrKind::string}, {TCA_OPTIONS, AttrKind::nested}};
constexpr AttrRule kBpfPolicy[] = {
    {TCA_BPF_NAME, AttrKind::string}, {TCA_BPF_TAG, AttrKind::binary}, {TCA_BPF_ID, AttrKind::u32}};

std::uint32_t parent_of(TcHook hook) {
  return TC_H_MAKE(TC_H_CLSACT, hook == TcHook::ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
}

/// What stands before the attributes of qdiscs and filters.
tcmsg header_of(IfIndex device, std::uint32_t parent, std::uint32_t handle = 0, std::uint32_t info = 0) {
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(device.value);
  header.tcm_parent = parent;
  header.tcm_handle = handle;
  header.tcm_info = info;
  return header;
}

tcmsg clsact_header(IfIndex device) {
  return header_of(device, TC_H_CLSACT, TC_H_MAKE(TC_H_CLSACT, 0));
}

/// TC_H_MAKE(preference, protocol): what tcm_info of a filter holds.
std::uint32_t info_of(std::uint32_t preference) {
  return TC_H_MAKE(preference << 16, static_cast<std::uint32_t>(htons(ETH_P_ALL)));
}

Result<TcFilterEntry> filter_of(const NetlinkMessage& message) {
  const auto tc = message.fixed<tcmsg>();
  if (!tc) return std::unexpected(tc.error());
  const auto attributes = message.attributes<tcmsg>(kTcPolicy);
  if (!attributes) return std::unexpected(attributes.error());
  TcFilterEntry entry{.kind = std::string(attributes->string(TCA_KIND)),
                      .preference = TC_H_MAJ(tc->tcm_info) >> 16,
                      .handle = tc->tcm_handle,
                      .name = {},
                      .program_tag = {}};
  if (entry.kind != "bpf") return entry;
  const auto bpf = attributes->nested(TCA_OPTIONS, kBpfPolicy);
  if (!bpf) return std::unexpected(bpf.error());
  entry.name = bpf->string(TCA_BPF_NAME);
  entry.program_id = bpf->u32(TCA_BPF_ID).value_or(0);
  for (const std::byte byte : bpf->bytes(TCA_BPF_TAG)) {
    entry.program_tag += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  }
  return entry;
}

/// For requests whose answer is only whether it worked.
Result<void> change(sys::NetlinkSocket& socket, const NetlinkRequest& request, const std::string& what) {
  auto done = socket.request(request, what);
  if (!done) return pass(std::move(done));
  return {};
}

}  // namespace

const char* to_string(TcHook hook) {
  return hook == TcHook::ingress ? "ingress" : "egress";
}

Result<TcSocket> TcSocket::open(const netns::Netns& ns) {
  auto fd = netns::open_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  if (!fd) return pass(std::move(fd), "cannot open a netlink socket");
  auto socket = sys::NetlinkSocket::adopt(*std::move(fd));
  if (!socket) return pass(std::move(socket));
  return TcSocket(*std::move(socket));
}

Result<std::optional<std::string>> TcSocket::device_name(IfIndex device) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(device.value);
  const auto links = socket_.request(NetlinkRequest(RTM_GETLINK, 0, header), "cannot look for a device");
  if (!links && links.error().sys_errno != ENODEV) return std::unexpected(links.error());
  if (!links || links->empty()) return std::nullopt;
  const auto attributes = links->front().attributes<ifinfomsg>(kLinkPolicy);
  if (!attributes) return std::unexpected(attributes.error());
  return std::string(attributes->string(IFLA_IFNAME));
}

Result<std::optional<std::string>> TcSocket::clsact_kind(IfIndex device) {
  const auto qdiscs = socket_.dump(NetlinkRequest(RTM_GETQDISC, 0, header_of(device, 0)), "cannot list qdiscs");
  if (!qdiscs) return std::unexpected(qdiscs.error());
  for (const NetlinkMessage& message : qdiscs->messages) {
    const auto tc = message.fixed<tcmsg>();
    if (!tc) return std::unexpected(tc.error());
    // A dump answers with the qdiscs of every device.
    if (tc->tcm_ifindex != static_cast<int>(device.value) || tc->tcm_parent != TC_H_CLSACT) continue;
    const auto attributes = message.attributes<tcmsg>(kTcPolicy);
    if (!attributes) return std::unexpected(attributes.error());
    return std::string(attributes->string(TCA_KIND));
  }
  if (!qdiscs->consistent) return fail(Errc::busy, "cannot list qdiscs: they change all the time", "try again");
  return std::nullopt;
}

Result<std::vector<TcFilterEntry>> TcSocket::filters(IfIndex device, TcHook hook) {
  const std::string what = fmt::format("cannot list {} filters", to_string(hook));
  const auto dump = socket_.dump(NetlinkRequest(RTM_GETTFILTER, 0, header_of(device, parent_of(hook))), what);
  if (!dump) return std::unexpected(dump.error());
  if (!dump->consistent) return fail(Errc::busy, what + ": they change all the time", "try again");
  std::vector<TcFilterEntry> entries;
  for (const NetlinkMessage& message : dump->messages) {
    auto entry = filter_of(message);
    if (!entry) return pass(std::move(entry), what);
    entries.push_back(*std::move(entry));
  }
  return entries;
}

Result<void> TcSocket::add_clsact(IfIndex device) {
  NetlinkRequest request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, clsact_header(device));
  return change(socket_, request.string(TCA_KIND, "clsact"), "cannot add a clsact qdisc");
}

Result<void> TcSocket::delete_clsact(IfIndex device) {
  NetlinkRequest request(RTM_DELQDISC, 0, clsact_header(device));
  return change(socket_, request.string(TCA_KIND, "clsact"), "cannot remove the clsact qdisc");
}

Result<void> TcSocket::add_filter(const TcBpfFilter& filter) {
  NetlinkRequest request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL,
                         header_of(filter.device, parent_of(filter.hook), filter.handle, info_of(filter.preference)));
  request.string(TCA_KIND, "bpf").nest(TCA_OPTIONS, [&filter](NetlinkRequest& options) {
    options.u32(TCA_BPF_FD, static_cast<std::uint32_t>(filter.program_fd))
        .string(TCA_BPF_NAME, filter.name)
        .u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  });
  return change(socket_, request,
                fmt::format("cannot add a filter at {} preference {}", to_string(filter.hook), filter.preference));
}

Result<void> TcSocket::delete_filter(IfIndex device, TcHook hook, std::uint32_t preference, std::uint32_t handle) {
  NetlinkRequest request(RTM_DELTFILTER, 0, header_of(device, parent_of(hook), handle, info_of(preference)));
  return change(socket_, request.string(TCA_KIND, "bpf"),
                fmt::format("cannot remove the filter at {} preference {}", to_string(hook), preference));
}

}  // namespace weir::steer
