#include "observe/flows/interface_counters.h"

#include <fmt/format.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "netns/netns.h"

namespace weir::observe {

namespace {

using sys::AttrKind;
using sys::AttrRule;

constexpr AttrRule kLinkPolicy[] = {{IFLA_STATS64, AttrKind::binary, offsetof(rtnl_link_stats64, rx_errors)},
                                    {IFLA_LINKINFO, AttrKind::nested}};
constexpr AttrRule kInfoPolicy[] = {{IFLA_INFO_KIND, AttrKind::string}};
constexpr std::array<std::string_view, 4> kWithoutLinkHeader{"bridge", "vlan", "vxlan", "geneve"};
constexpr std::array<std::string_view, 7> kFromBelow{"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "bond", "team"};

}  // namespace

Result<void> read_interface_counters(sys::NetlinkSocket& socket, std::uint64_t netns, InterfaceCounts& counts) {
  auto dump = socket.dump(sys::NetlinkRequest(RTM_GETLINK, 0, ifinfomsg{}), "reading the interfaces' counters");
  if (!dump) return pass(std::move(dump));
  for (const sys::NetlinkMessage& message : dump->messages) {
    if (message.type() != RTM_NEWLINK) continue;
    const auto header = message.fixed<ifinfomsg>();
    if (!header) return std::unexpected(header.error());
    auto attributes = message.attributes<ifinfomsg>(kLinkPolicy);
    if (!attributes) return pass(std::move(attributes));
    auto info = attributes->nested(IFLA_LINKINFO, kInfoPolicy);
    if (!info) return pass(std::move(info));
    const std::span<const std::byte> raw = attributes->bytes(IFLA_STATS64);
    rtnl_link_stats64 stats{};
    std::memcpy(&stats, raw.data(), std::min(raw.size(), sizeof stats));
    counts[{netns, static_cast<std::uint32_t>(header->ifi_index)}] = {
        .kind = std::string(info->string(IFLA_INFO_KIND)), .rx_bytes = stats.rx_bytes, .tx_bytes = stats.tx_bytes};
  }
  return {};
}

InterfaceCounts read_interface_counters(const std::vector<model::NetnsRef>& namespaces) {
  InterfaceCounts counts;
  for (const model::NetnsRef& ref : namespaces) {
    const auto ns = netns::Netns::open(fmt::format("id:{}", ref.id));
    if (!ns) continue;
    auto fd = netns::open_socket(*ns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    if (!fd) continue;
    auto socket = sys::NetlinkSocket::adopt(*std::move(fd));
    if (!socket) continue;
    InterfaceCounts here;
    if (read_interface_counters(*socket, ref.id, here)) counts.merge(here);
  }
  return counts;
}

bool counts_without_link_header(const std::string& kind) {
  return std::ranges::find(kWithoutLinkHeader, kind) != kWithoutLinkHeader.end();
}

bool receives_from_below(const std::string& kind) {
  return std::ranges::find(kFromBelow, kind) != kFromBelow.end();
}

}  // namespace weir::observe
