#include "model/packet.h"

#include <netinet/in.h>

#include <algorithm>

#include "model/packet_view.h"

namespace weir::model {

namespace {

using View = PacketView;

constexpr std::uint16_t kIpv4 = 0x0800;
constexpr std::uint16_t kArp = 0x0806;
constexpr std::uint16_t kTransparentEthernet = 0x6558;
constexpr std::uint16_t kVlan = 0x8100;
constexpr std::uint16_t kIpv6 = 0x86DD;
constexpr std::uint16_t kServiceVlan = 0x88A8;
constexpr std::uint16_t kOldServiceVlan = 0x9100;

/// Deeper nests are no traffic but an attack on our stack.
constexpr int kMostLayers = 6;
constexpr int kMostExtensions = 16;
constexpr std::size_t kMostVlans = 8;

bool is_vlan(std::uint16_t type) {
  return type == kVlan || type == kServiceVlan || type == kOldServiceVlan;
}

void read_ethertype(Packet& packet, std::uint16_t type, View view, int depth);
void read_link(Packet& packet, View view, int depth);

/// Whether these bytes begin with a plausible IP header of some version.
bool looks_like_ip(View view) {
  if (!view.has(1)) return false;
  const unsigned version = view.u8(0) >> 4U;
  if (version == 4) return (view.u8(0) & 0xFU) >= 5 && (!view.has(20) || view.u16(2) >= 20 || view.u16(2) == 0);
  return version == 6;
}

/// The packet that `packet` carries: a frame, or what `type` says.
void read_inner(Packet& packet, std::uint16_t type, View view, int depth) {
  if (depth >= kMostLayers) return;
  Packet inner;
  inner.length = view.total();
  if (type == kTransparentEthernet) {
    read_link(inner, view, depth + 1);
  } else {
    read_ethertype(inner, type, view, depth + 1);
  }
  packet.truncated = packet.truncated || inner.truncated;
  packet.inner.push_back(std::move(inner));
}

/// VXLAN (RFC 7348, and the group bit of GBP) and Geneve (RFC 8926), by port and flags.
void read_udp_tunnel(Packet& packet, View view, int depth) {
  constexpr std::uint16_t kVxlanPort = 4789;
  constexpr std::uint16_t kOldVxlanPort = 8472;
  constexpr std::uint16_t kGenevePort = 6081;
  constexpr unsigned kVniFlag = 0x08;
  constexpr unsigned kGroupFlag = 0x80;
  constexpr std::size_t kHeader = 8;
  const std::uint16_t port = packet.udp->dport;
  const bool vxlan = port == kVxlanPort || port == kOldVxlanPort;
  if (!vxlan && port != kGenevePort) return;
  if (view.has(1) && vxlan && (view.u8(0) & ~kGroupFlag) != kVniFlag) return;
  if (view.has(1) && !vxlan && view.u8(0) >> 6U != 0) return;
  packet.tunnel = Tunnel{vxlan ? TunnelKind::vxlan : TunnelKind::geneve, {}};
  if (!view.has(kHeader)) {
    packet.truncated = true;
    return;
  }
  packet.tunnel->id = view.u32(4) >> 8U;
  const std::size_t options = vxlan ? 0 : 4 * (view.u8(0) & 0x3FU);
  if (!view.has(kHeader + options)) {
    packet.truncated = true;
    return;
  }
  read_inner(packet, vxlan ? kTransparentEthernet : view.u16(2), view.from(kHeader + options), depth);
}

void read_tcp(Packet& packet, View view, std::uint32_t ip_payload) {
  constexpr std::size_t kHeader = 20;
  // The ports alone are worth having, as in what ICMP quotes.
  if (!view.has(4)) {
    packet.truncated = true;
    return;
  }
  TcpHeader tcp{.sport = view.u16(0), .dport = view.u16(2)};
  if (view.has(8)) tcp.seq = view.u32(4);
  if (view.has(kHeader)) {
    tcp.ack = view.u32(8);
    tcp.flags = view.u8(13);
    tcp.window = view.u16(14);
    const std::uint32_t header = 4U * (view.u8(12) >> 4U);
    tcp.payload = ip_payload > header ? ip_payload - header : 0;
  } else {
    packet.truncated = true;
  }
  packet.tcp = tcp;
}

std::optional<PortsHeader> read_ports(Packet& packet, View view) {
  if (!view.has(4)) {
    packet.truncated = true;
    return {};
  }
  return PortsHeader{view.u16(0), view.u16(2)};
}

void read_udp(Packet& packet, View view, int depth) {
  constexpr std::size_t kHeader = 8;
  packet.udp = read_ports(packet, view);
  if (!packet.udp || packet.ip->protocol != IPPROTO_UDP) return;
  if (!view.has(kHeader)) {
    packet.truncated = true;
    return;
  }
  read_udp_tunnel(packet, view.from(kHeader), depth);
}

/// The packet that an ICMP error quotes. Senders quote a part only, so its end says nothing about this copy.
void read_quoted(Packet& packet, View view, int depth) {
  const bool truncated = packet.truncated;
  if (view.has(1)) read_inner(packet, packet.ip->version == 4 ? kIpv4 : kIpv6, view, depth);
  packet.truncated = truncated;
}

void read_icmp(Packet& packet, View view, int depth) {
  constexpr std::size_t kHeader = 8;
  if (!view.has(4)) {
    packet.truncated = true;
    return;
  }
  const bool v4 = packet.ip->version == 4;
  IcmpHeader icmp{.type = view.u8(0), .code = view.u8(1), .id = {}, .seq = {}, .mtu = {}, .target = {}};
  if (!view.has(kHeader)) {
    packet.truncated = true;
    packet.icmp = icmp;
    return;
  }
  const bool echo = v4 ? icmp.type == 0 || icmp.type == 8 : icmp.type == 128 || icmp.type == 129;
  const bool error = v4 ? icmp.type == 3 || icmp.type == 4 || icmp.type == 5 || icmp.type == 11 || icmp.type == 12
                        : icmp.type >= 1 && icmp.type <= 4;
  if (echo) {
    icmp.id = view.u16(4);
    icmp.seq = view.u16(6);
  }
  if (v4 && icmp.type == 3 && icmp.code == 4) icmp.mtu = view.u16(6);
  if (!v4 && icmp.type == 2) icmp.mtu = view.u32(4);
  if (!v4 && (icmp.type == 135 || icmp.type == 136)) {
    icmp.target = view.address(AF_INET6, kHeader);
    if (icmp.target.empty()) packet.truncated = true;
  }
  packet.icmp = icmp;
  if (error) read_quoted(packet, view.from(kHeader), depth);
}

/// GRE (RFC 2784, 2890), version 0.
void read_gre(Packet& packet, View view, int depth) {
  constexpr unsigned kChecksum = 0x8000;
  constexpr unsigned kKey = 0x2000;
  constexpr unsigned kSequence = 0x1000;
  if (!view.has(4)) {
    packet.truncated = true;
    return;
  }
  const unsigned flags = view.u16(0);
  if ((flags & 7U) != 0) return;
  packet.tunnel = Tunnel{TunnelKind::gre, {}};
  std::size_t at = 4 + ((flags & kChecksum) != 0 ? 4 : 0);
  if ((flags & kKey) != 0) {
    if (view.has(at + 4)) packet.tunnel->id = view.u32(at);
    at += 4;
  }
  if ((flags & kSequence) != 0) at += 4;
  if (!view.has(at)) {
    packet.truncated = true;
    return;
  }
  read_inner(packet, view.u16(2), view.from(at), depth);
}

void read_ip_in_ip(Packet& packet, View view, int depth) {
  const bool outer4 = packet.ip->version == 4;
  const bool inner4 = packet.ip->protocol == IPPROTO_IPIP;
  const TunnelKind kind =
      outer4 ? (inner4 ? TunnelKind::ipip : TunnelKind::sit) : (inner4 ? TunnelKind::ipip6 : TunnelKind::ip6ip6);
  packet.tunnel = Tunnel{kind, {}};
  read_inner(packet, inner4 ? kIpv4 : kIpv6, view, depth);
}

/// What stands behind the IP header and its extensions; `payload` bytes of it by the header's own word.
void read_transport(Packet& packet, View view, std::uint32_t payload, int depth) {
  // Only the first fragment begins with the transport's header.
  if (packet.ip->fragment_offset != 0) return;
  switch (packet.ip->protocol) {
    case IPPROTO_TCP:
      return read_tcp(packet, view, payload);
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
      return read_udp(packet, view, depth);
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
      packet.sctp = read_ports(packet, view);
      return;
    case IPPROTO_ICMP:
      return packet.ip->version == 4 ? read_icmp(packet, view, depth) : void();
    case IPPROTO_ICMPV6:
      return packet.ip->version == 6 ? read_icmp(packet, view, depth) : void();
    case IPPROTO_ESP:
      if (view.has(4)) packet.esp_spi = view.u32(0);
      packet.truncated = packet.truncated || !view.has(4);
      return;
    case IPPROTO_GRE:
      return read_gre(packet, view, depth);
    case IPPROTO_IPIP:
    case IPPROTO_IPV6:
      return read_ip_in_ip(packet, view, depth);
    default:
      return;
  }
}

/// Walks the headers between IP and its payload: those of RFC 8200, and AH (RFC 4302) in both versions. Gives the place
/// where the payload begins, nothing where the copy ends before.
std::optional<std::size_t> skip_extensions(IpHeader& ip, View view, std::size_t at) {
  for (int count = 0; count < kMostExtensions; ++count) {
    const std::uint8_t kind = ip.protocol;
    const bool v6_option = ip.version == 6 && (kind == IPPROTO_HOPOPTS || kind == IPPROTO_ROUTING ||
                                               kind == IPPROTO_DSTOPTS || kind == IPPROTO_MH);
    const bool fragment = ip.version == 6 && kind == IPPROTO_FRAGMENT;
    if (!v6_option && !fragment && kind != IPPROTO_AH) return at;
    if (!view.has(at + 8)) return {};
    if (fragment) {
      ip.fragment_offset = view.u16(at + 2) & 0xFFF8U;
      ip.more_fragments = (view.u16(at + 2) & 1U) != 0;
      ip.id = view.u32(at + 4);
    }
    ip.extensions.push_back(kind);
    ip.protocol = view.u8(at);
    const std::size_t words = view.u8(at + 1);
    at += fragment ? 8 : kind == IPPROTO_AH ? (words + 2) * 4 : (words + 1) * 8;
    // Behind the first fragment's headers there is no more header to walk.
    if (ip.fragment_offset != 0) return at;
  }
  return {};
}

/// Bytes behind the headers of IP, which end at `at`. A packet that is longer than the header can say, as segmentation
/// offloads make them, has no length there; then it is what the packet has.
std::uint32_t payload_bytes(const IpHeader& ip, View view, std::uint32_t at) {
  const std::uint32_t length = ip.length != 0 ? ip.length : view.total();
  return length > at ? length - at : 0;
}

void read_ipv4(Packet& packet, View view, int depth) {
  constexpr std::size_t kHeader = 20;
  if (!view.has(kHeader)) {
    packet.truncated = true;
    return;
  }
  const unsigned fragment = view.u16(6);
  IpHeader ip{.version = 4,
              .src = view.address(AF_INET, 12),
              .dst = view.address(AF_INET, 16),
              .protocol = view.u8(9),
              .ttl = view.u8(8),
              .tos = view.u8(1),
              .length = view.u16(2),
              .id = view.u16(4),
              .dont_fragment = (fragment & 0x4000U) != 0,
              .more_fragments = (fragment & 0x2000U) != 0,
              .fragment_offset = (fragment & 0x1FFFU) * 8,
              .flow_label = 0,
              .extensions = {}};
  const std::size_t header = std::max<std::size_t>(4U * (view.u8(0) & 0xFU), kHeader);
  const auto at = ip.fragment_offset != 0 ? std::optional(header) : skip_extensions(ip, view, header);
  const std::uint32_t payload = at ? payload_bytes(ip, view, static_cast<std::uint32_t>(*at)) : 0;
  packet.ip = std::move(ip);
  packet.truncated = packet.truncated || !at;
  if (at) read_transport(packet, view.from(*at), payload, depth);
}

void read_ipv6(Packet& packet, View view, int depth) {
  constexpr std::uint32_t kHeader = 40;
  if (!view.has(kHeader)) {
    packet.truncated = true;
    return;
  }
  const std::uint32_t payload_length = view.u16(4);
  IpHeader ip{.version = 6,
              .src = view.address(AF_INET6, 8),
              .dst = view.address(AF_INET6, 24),
              .protocol = view.u8(6),
              .ttl = view.u8(7),
              .tos = static_cast<std::uint8_t>(view.u16(0) >> 4U),
              .length = payload_length == 0 ? 0 : payload_length + kHeader,
              .id = {},
              .dont_fragment = false,
              .more_fragments = false,
              .fragment_offset = 0,
              .flow_label = view.u32(0) & 0xFFFFFU,
              .extensions = {}};
  const auto at = skip_extensions(ip, view, kHeader);
  const std::uint32_t payload = at ? payload_bytes(ip, view, static_cast<std::uint32_t>(*at)) : 0;
  packet.ip = std::move(ip);
  packet.truncated = packet.truncated || !at;
  if (at) read_transport(packet, view.from(*at), payload, depth);
}

void read_arp(Packet& packet, View view) {
  constexpr std::size_t kSize = 28;
  if (!view.has(kSize)) {
    packet.truncated = true;
    return;
  }
  const bool ipv4_over_ethernet = view.u16(2) == kIpv4 && view.u8(4) == 6 && view.u8(5) == 4;
  if (!ipv4_over_ethernet) return;
  packet.arp = ArpHeader{.operation = view.u16(6),
                         .sender_mac = view.mac(8),
                         .sender_ip = view.address(AF_INET, 14),
                         .target_mac = view.mac(18),
                         .target_ip = view.address(AF_INET, 24)};
}

/// Reads tags from `view`, which begins behind the first one's protocol `type`; gives the type behind them.
std::uint16_t read_vlans(Packet& packet, std::uint16_t type, View& view) {
  while (is_vlan(type) && packet.vlans.size() < kMostVlans) {
    if (!view.has(4)) {
      packet.truncated = true;
      return 0;
    }
    packet.vlans.push_back({type, view.u16(0)});
    type = view.u16(2);
    view = view.from(4);
  }
  return type;
}

void read_ethertype(Packet& packet, std::uint16_t type, View view, int depth) {
  if (is_vlan(type)) type = read_vlans(packet, type, view);
  if (packet.ethernet) packet.ethernet->type = type;
  if (type == kIpv4 || type == kIpv6) {
    // The version decides: a header that says another one is no header that we could read.
    if (!view.has(1)) {
      packet.truncated = true;
    } else if (view.u8(0) >> 4U == 4 && type == kIpv4) {
      read_ipv4(packet, view, depth);
    } else if (view.u8(0) >> 4U == 6 && type == kIpv6) {
      read_ipv6(packet, view, depth);
    }
  } else if (type == kArp) {
    read_arp(packet, view);
  }
}

void read_link(Packet& packet, View view, int depth) {
  constexpr std::size_t kHeader = 14;
  if (!view.has(kHeader)) {
    packet.truncated = true;
    return;
  }
  packet.ethernet = EthernetHeader{.src = view.mac(6), .dst = view.mac(0), .type = view.u16(12)};
  read_ethertype(packet, packet.ethernet->type, view.from(kHeader), depth);
}

}  // namespace

Packet dissect(const PacketBytes& bytes, std::uint16_t protocol) {
  Packet packet;
  packet.length = bytes.length;
  const auto captured = static_cast<std::uint32_t>(bytes.bytes.size());
  const View view{bytes.bytes, bytes.length > captured ? bytes.length - captured : 0};
  if (bytes.start == PacketStart::link) {
    read_link(packet, view, 0);
    return packet;
  }
  // A frame whose tag is not taken off yet says 802.1Q, whether its network header stands at the tag or behind it.
  if ((protocol == 0 || is_vlan(protocol)) && looks_like_ip(view)) protocol = view.u8(0) >> 4U == 4 ? kIpv4 : kIpv6;
  if (view.size() == 0 && bytes.length > 0) packet.truncated = true;
  read_ethertype(packet, protocol, view, 0);
  return packet;
}

}  // namespace weir::model
