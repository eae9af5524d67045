#include "observe/config/links.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>

namespace weir::observe::config {

namespace {

using sys::AttrKind;
using sys::AttrRule;

constexpr AttrRule kLinkPolicy[] = {
    {IFLA_IFNAME, AttrKind::string},     {IFLA_MTU, AttrKind::u32},           {IFLA_LINK, AttrKind::u32},
    {IFLA_LINK_NETNSID, AttrKind::s32},  {IFLA_MASTER, AttrKind::u32},        {IFLA_LINKINFO, AttrKind::nested},
    {IFLA_NUM_TX_QUEUES, AttrKind::u32}, {IFLA_NUM_RX_QUEUES, AttrKind::u32}, {IFLA_XDP, AttrKind::nested},
};
constexpr AttrRule kInfoPolicy[] = {{IFLA_INFO_KIND, AttrKind::string}, {IFLA_INFO_DATA, AttrKind::nested}};
constexpr AttrRule kVxlanPolicy[] = {{IFLA_VXLAN_LINK, AttrKind::u32}};
constexpr AttrRule kVlanPolicy[] = {{IFLA_VLAN_ID, AttrKind::u16}};
constexpr AttrRule kXdpPolicy[] = {{IFLA_XDP_PROG_ID, AttrKind::u32},
                                   {IFLA_XDP_DRV_PROG_ID, AttrKind::u32},
                                   {IFLA_XDP_SKB_PROG_ID, AttrKind::u32},
                                   {IFLA_XDP_HW_PROG_ID, AttrKind::u32}};

std::uint32_t xdp_program(const sys::Attributes& xdp) {
  // With programs at several hooks PROG_ID is absent; the one in the driver runs first.
  for (const std::uint16_t type : {IFLA_XDP_PROG_ID, IFLA_XDP_DRV_PROG_ID, IFLA_XDP_SKB_PROG_ID, IFLA_XDP_HW_PROG_ID}) {
    if (const auto id = xdp.u32(type)) return *id;
  }
  return 0;
}

void resolve_masters(std::vector<Link>& links) {
  for (Link& link : links) {
    if (link.device.master == 0) continue;
    const auto master = std::ranges::find(links, IfIndex{link.device.master},
                                          [](const Link& other) { return other.device.ref.ifindex; });
    if (master != links.end()) link.device.master_kind = master->device.link_kind;
  }
}

}  // namespace

Result<Link> parse_link(const sys::NetlinkMessage& message) {
  const auto header = message.fixed<ifinfomsg>();
  if (!header) return std::unexpected(header.error());
  auto attributes = message.attributes<ifinfomsg>(kLinkPolicy);
  if (!attributes) return pass(std::move(attributes));
  auto info = attributes->nested(IFLA_LINKINFO, kInfoPolicy);
  if (!info) return pass(std::move(info));
  auto xdp = attributes->nested(IFLA_XDP, kXdpPolicy);
  if (!xdp) return pass(std::move(xdp));
  Link link;
  model::DeviceConfig& device = link.device;
  device.ref.ifindex = IfIndex{static_cast<std::uint32_t>(header->ifi_index)};
  device.ref.name = attributes->string(IFLA_IFNAME);
  device.link_kind = info->string(IFLA_INFO_KIND);
  device.up = (header->ifi_flags & IFF_UP) != 0;
  device.loopback = (header->ifi_flags & IFF_LOOPBACK) != 0;
  device.mtu = attributes->u32(IFLA_MTU).value_or(0);
  device.master = attributes->u32(IFLA_MASTER).value_or(0);
  device.num_tx_queues = attributes->u32(IFLA_NUM_TX_QUEUES).value_or(1);
  device.num_rx_queues = attributes->u32(IFLA_NUM_RX_QUEUES).value_or(1);
  device.xdp_program_id = xdp_program(*xdp);
  link.iflink = attributes->u32(IFLA_LINK).value_or(0);
  link.iflink_netnsid = attributes->s32(IFLA_LINK_NETNSID);
  if (link.iflink == 0 && device.link_kind == "vxlan") {  // the only kind with a lower device of its own wording
    auto vxlan = info->nested(IFLA_INFO_DATA, kVxlanPolicy);
    if (!vxlan) return pass(std::move(vxlan));
    link.iflink = vxlan->u32(IFLA_VXLAN_LINK).value_or(0);
  }
  if (device.link_kind == "vlan") {
    auto vlan = info->nested(IFLA_INFO_DATA, kVlanPolicy);
    if (!vlan) return pass(std::move(vlan));
    device.vlan_id = vlan->u16(IFLA_VLAN_ID).value_or(0);
  }
  return link;
}

Result<std::vector<Link>> read_links(sys::NetlinkSocket& socket, bool* consistent) {
  // Statistics would be two thirds of every answer.
  const auto request = sys::NetlinkRequest(RTM_GETLINK, 0, ifinfomsg{}).u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  auto dump = socket.dump(request, "reading the devices");
  if (!dump) return pass(std::move(dump));
  *consistent = dump->consistent;
  std::vector<Link> links;
  for (const sys::NetlinkMessage& message : dump->messages) {
    if (message.type() != RTM_NEWLINK) continue;
    auto link = parse_link(message);
    if (!link) return pass(std::move(link), "reading the devices");
    links.push_back(std::move(*link));
  }
  std::ranges::sort(links, {}, [](const Link& link) { return link.device.ref.ifindex; });
  resolve_masters(links);
  return links;
}

Result<std::string> link_name(sys::NetlinkSocket& socket, std::uint32_t ifindex) {
  ifinfomsg which{};
  which.ifi_index = static_cast<int>(ifindex);
  auto answer = socket.request(sys::NetlinkRequest(RTM_GETLINK, 0, which), "device " + std::to_string(ifindex));
  if (!answer) return pass(std::move(answer));
  for (const sys::NetlinkMessage& message : *answer) {
    auto link = parse_link(message);
    if (!link) return pass(std::move(link));
    return link->device.ref.name;
  }
  return fail(Errc::not_found, "no device " + std::to_string(ifindex));
}

}  // namespace weir::observe::config
