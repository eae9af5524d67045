#include <fmt/format.h>
#include <netinet/in.h>

#include <array>
#include <utility>

#include "model/packet.h"

namespace weir::model {

namespace {

struct IcmpName {
  std::uint8_t type;
  int code;  ///< -1: any
  const char* name;
};
// The first line that fits counts.
constexpr std::array kIcmpNames{
    IcmpName{0, -1, "echo reply"},         IcmpName{3, 0, "net unreachable"},
    IcmpName{3, 1, "host unreachable"},    IcmpName{3, 2, "protocol unreachable"},
    IcmpName{3, 3, "port unreachable"},    IcmpName{3, 4, "fragmentation needed"},
    IcmpName{3, 9, "net prohibited"},      IcmpName{3, 10, "host prohibited"},
    IcmpName{3, 13, "admin prohibited"},   IcmpName{3, -1, "unreachable"},
    IcmpName{5, -1, "redirect"},           IcmpName{8, -1, "echo request"},
    IcmpName{11, 0, "time exceeded"},      IcmpName{11, 1, "reassembly time exceeded"},
    IcmpName{12, -1, "parameter problem"},
};
constexpr std::array kIcmp6Names{
    IcmpName{1, 0, "no route"},
    IcmpName{1, 1, "admin prohibited"},
    IcmpName{1, 3, "address unreachable"},
    IcmpName{1, 4, "port unreachable"},
    IcmpName{1, -1, "unreachable"},
    IcmpName{2, -1, "packet too big"},
    IcmpName{3, 0, "time exceeded"},
    IcmpName{3, 1, "reassembly time exceeded"},
    IcmpName{4, -1, "parameter problem"},
    IcmpName{128, -1, "echo request"},
    IcmpName{129, -1, "echo reply"},
    IcmpName{130, -1, "multicast listener query"},
    IcmpName{131, -1, "multicast listener report"},
    IcmpName{132, -1, "multicast listener done"},
    IcmpName{133, -1, "router solicitation"},
    IcmpName{134, -1, "router advertisement"},
    IcmpName{135, -1, "neighbour solicitation"},
    IcmpName{136, -1, "neighbour advertisement"},
    IcmpName{137, -1, "redirect"},
    IcmpName{143, -1, "multicast listener report"},
};

template <std::size_t N>
std::string icmp_name(const std::array<IcmpName, N>& names, const IcmpHeader& icmp) {
  for (const IcmpName& row : names) {
    if (row.type == icmp.type && (row.code < 0 || row.code == icmp.code)) return row.name;
  }
  return fmt::format("type {} code {}", icmp.type, icmp.code);
}

std::string icmp_text(const IcmpHeader& icmp, std::uint8_t version) {
  std::string text = version == 4 ? "icmp " + icmp_name(kIcmpNames, icmp) : "icmp6 " + icmp_name(kIcmp6Names, icmp);
  if (icmp.id) text += fmt::format(" id {}", *icmp.id);
  if (icmp.seq) text += fmt::format(" seq {}", *icmp.seq);
  if (icmp.mtu) text += fmt::format(" mtu {}", *icmp.mtu);
  if (!icmp.target.empty()) text += " " + icmp.target;
  return text;
}

std::string tcp_text(const TcpHeader& tcp) {
  // Of what ICMP quotes there is often no more than ports and sequence.
  if (tcp.flags == 0 && tcp.window == 0) return fmt::format("tcp seq {}", tcp.seq);
  std::string text = fmt::format("tcp {} seq {}", tcp_flags_text(tcp.flags), tcp.seq);
  if ((tcp.flags & 0x10U) != 0) text += fmt::format(" ack {}", tcp.ack);
  return text + fmt::format(" win {}", tcp.window);
}

/// "10.0.0.1:80", "[fd00::1]:80", or without a port the address alone.
std::string endpoint(const std::string& address, std::optional<std::uint16_t> port) {
  if (!port) return address;
  const bool v6 = address.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", address, v6 ? "]" : "", *port);
}

std::string transport_text(const Packet& packet) {
  if (packet.tunnel) return to_text(*packet.tunnel);
  if (packet.tcp) return tcp_text(*packet.tcp);
  if (packet.icmp) return icmp_text(*packet.icmp, packet.ip->version);
  if (packet.esp_spi) return fmt::format("esp spi {:#x}", *packet.esp_spi);
  return ip_protocol_text(packet.ip->protocol);
}

std::string ip_text(const Packet& packet) {
  const IpHeader& ip = *packet.ip;
  std::optional<std::uint16_t> sport;
  std::optional<std::uint16_t> dport;
  if (packet.tcp) {
    sport = packet.tcp->sport;
    dport = packet.tcp->dport;
  } else if (const auto& ports = packet.udp ? packet.udp : packet.sctp; ports && !packet.tunnel) {
    sport = ports->sport;
    dport = ports->dport;
  }
  std::string text =
      fmt::format("{} > {} {}", endpoint(ip.src, sport), endpoint(ip.dst, dport), transport_text(packet));
  if (ip.fragment()) {
    text += fmt::format(" frag id {} offset {}{}", ip.id.value_or(0), ip.fragment_offset, ip.more_fragments ? "+" : "");
  }
  if (ip.tos != 0) text += fmt::format(" tos {:#04x}", ip.tos);
  text += fmt::format(" ttl {}", ip.ttl);
  return text;
}

std::string arp_text(const ArpHeader& arp) {
  if (arp.operation == 1) return fmt::format("arp who-has {} tell {}", arp.target_ip, arp.sender_ip);
  if (arp.operation == 2) return fmt::format("arp reply {} is-at {}", arp.sender_ip, arp.sender_mac);
  return fmt::format("arp operation {} {} > {}", arp.operation, arp.sender_ip, arp.target_ip);
}

std::string link_text(const EthernetHeader& ethernet) {
  constexpr std::uint16_t kFirstType = 0x600;
  const std::string pair = ethernet.src + " > " + ethernet.dst;
  if (ethernet.type < kFirstType) return pair + " 802.3";
  return fmt::format("{} ethertype {:#06x}", pair, ethernet.type);
}

/// Bytes from the network layer on, so that a packet has the same length at hooks with and without a link header.
std::uint32_t network_length(const Packet& packet) {
  constexpr std::uint32_t kEthernet = 14;
  constexpr std::uint32_t kTag = 4;
  if (!packet.ip) return packet.length;
  if (packet.ip->length != 0) return packet.ip->length;
  const std::uint32_t link = (packet.ethernet ? kEthernet : 0) + kTag * static_cast<std::uint32_t>(packet.vlans.size());
  return packet.length > link ? packet.length - link : 0;
}

std::string whole_text(const Packet& packet) {
  std::string text;
  for (const VlanTag& tag : packet.vlans) text += fmt::format("vlan {} ", tag.id());
  if (packet.ip) {
    text += ip_text(packet);
  } else if (packet.arp) {
    text += arp_text(*packet.arp);
  } else if (packet.ethernet) {
    text += link_text(*packet.ethernet);
  } else {
    text += "unknown packet";
  }
  text += fmt::format(" len {}", network_length(packet));
  if (!packet.inner.empty()) text += " (" + whole_text(packet.inner.front()) + ")";
  return text;
}

}  // namespace

const char* to_string(TunnelKind kind) {
  switch (kind) {
    case TunnelKind::vxlan:
      return "vxlan";
    case TunnelKind::geneve:
      return "geneve";
    case TunnelKind::gre:
      return "gre";
    case TunnelKind::ipip:
      return "ipip";
    case TunnelKind::sit:
      return "sit";
    case TunnelKind::ip6ip6:
      return "ip6ip6";
    case TunnelKind::ipip6:
      return "ipip6";
  }
  return "tunnel";
}

std::string to_text(const Tunnel& tunnel) {
  if (!tunnel.id) return to_string(tunnel.kind);
  return fmt::format("{} {} {}", to_string(tunnel.kind), tunnel.kind == TunnelKind::gre ? "key" : "vni", *tunnel.id);
}

std::string tcp_flags_text(std::uint8_t flags) {
  constexpr std::array kNames{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};
  std::string text;
  for (std::size_t bit = 0; bit < kNames.size(); ++bit) {
    if ((flags >> bit & 1U) == 0) continue;
    if (!text.empty()) text += ',';
    text += kNames[bit];
  }
  return text.empty() ? "none" : text;
}

std::string ip_protocol_text(std::uint8_t protocol) {
  static constexpr std::array<std::pair<std::uint8_t, const char*>, 22> kNames{{
      {IPPROTO_HOPOPTS, "hop-by-hop"},
      {IPPROTO_ICMP, "icmp"},
      {IPPROTO_IGMP, "igmp"},
      {IPPROTO_IPIP, "ipip"},
      {IPPROTO_TCP, "tcp"},
      {IPPROTO_UDP, "udp"},
      {IPPROTO_DCCP, "dccp"},
      {IPPROTO_IPV6, "ipv6"},
      {IPPROTO_ROUTING, "routing"},
      {IPPROTO_FRAGMENT, "fragment"},
      {IPPROTO_RSVP, "rsvp"},
      {IPPROTO_GRE, "gre"},
      {IPPROTO_ESP, "esp"},
      {IPPROTO_AH, "ah"},
      {IPPROTO_ICMPV6, "icmp6"},
      {IPPROTO_NONE, "no-next"},
      {IPPROTO_DSTOPTS, "dest-opts"},
      {89, "ospf"},
      {112, "vrrp"},
      {IPPROTO_SCTP, "sctp"},
      {IPPROTO_MH, "mobility"},
      {IPPROTO_UDPLITE, "udplite"},
  }};
  for (const auto& [number, name] : kNames) {
    if (number == protocol) return name;
  }
  return std::to_string(protocol);
}

std::string to_text(const Packet& packet) {
  return packet.truncated ? whole_text(packet) + " truncated" : whole_text(packet);
}

}  // namespace weir::model
