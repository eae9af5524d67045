// The headers of a packet, read from the bytes that were copied of it. Pure: bytes in, fields out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/trace.h"

namespace weir::model {

/// An 802.1Q or 802.1ad tag within the bytes of a frame.
struct VlanTag {
  std::uint16_t protocol = 0;  ///< 0x8100 or 0x88a8
  std::uint16_t tci = 0;
  [[nodiscard]] std::uint16_t id() const { return tci & 0x0FFFU; }
  [[nodiscard]] std::uint8_t priority() const { return static_cast<std::uint8_t>(tci >> 13U); }
  bool operator==(const VlanTag&) const = default;
};

/// A link layer header. Addresses as "02:00:00:00:00:01".
struct EthernetHeader {
  std::string src;
  std::string dst;
  std::uint16_t type = 0;  ///< ethertype behind the tags; below 0x600 it is the length of an 802.3 frame
  bool operator==(const EthernetHeader&) const = default;
};

/// ARP for IPv4 over Ethernet (RFC 826).
struct ArpHeader {
  std::uint16_t operation = 0;  ///< 1 request, 2 reply
  std::string sender_mac;
  std::string sender_ip;
  std::string target_mac;
  std::string target_ip;
  bool operator==(const ArpHeader&) const = default;
};

/// IPv4 (RFC 791) or IPv6 (RFC 8200) with its extension headers.
struct IpHeader {
  std::uint8_t version = 4;
  std::string src;
  std::string dst;
  std::uint8_t protocol = 0;          ///< IPPROTO_* behind the extension headers
  std::uint8_t ttl = 0;               ///< IPv6: hop limit
  std::uint8_t tos = 0;               ///< DSCP and ECN; IPv6: traffic class
  std::uint32_t length = 0;           ///< this header included, as it says itself; 0: not set, or more than it can say
  std::optional<std::uint32_t> id;    ///< IPv6: only a fragment has one
  bool dont_fragment = false;         ///< IPv4
  bool more_fragments = false;        ///< MF
  std::uint32_t fragment_offset = 0;  ///< bytes
  std::uint32_t flow_label = 0;       ///< IPv6
  std::vector<std::uint8_t> extensions;  ///< numbers of the headers between this one and `protocol`, AH included
  [[nodiscard]] bool fragment() const { return more_fragments || fragment_offset != 0; }
  bool operator==(const IpHeader&) const = default;
};

struct TcpHeader {
  std::uint16_t sport = 0;
  std::uint16_t dport = 0;
  std::uint32_t seq = 0;
  std::uint32_t ack = 0;
  std::uint8_t flags = 0;     ///< FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128
  std::uint16_t window = 0;   ///< unscaled
  std::uint32_t payload = 0;  ///< bytes behind the header, by the lengths that IP and TCP say
  bool operator==(const TcpHeader&) const = default;
};

/// UDP, UDP-Lite, and of SCTP and DCCP the ports.
struct PortsHeader {
  std::uint16_t sport = 0;
  std::uint16_t dport = 0;
  bool operator==(const PortsHeader&) const = default;
};

/// ICMP or ICMPv6, as the IP header says.
struct IcmpHeader {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::optional<std::uint16_t> id;   ///< echo only
  std::optional<std::uint16_t> seq;  ///< echo only
  std::optional<std::uint32_t> mtu;  ///< "fragmentation needed", "packet too big"
  std::string target;                ///< neighbour solicitation and advertisement: whose address
  bool operator==(const IcmpHeader&) const = default;
};

enum class TunnelKind : std::uint8_t { vxlan, geneve, gre, ipip, sit, ip6ip6, ipip6 };
const char* to_string(TunnelKind kind);

/// What a packet carries another one in.
struct Tunnel {
  TunnelKind kind = TunnelKind::vxlan;
  std::optional<std::uint32_t> id;  ///< VNI; GRE: the key, if there is one
  bool operator==(const Tunnel&) const = default;
};

/// All that the copied bytes say. What they do not reach is absent.
struct Packet {
  std::uint32_t length = 0;  ///< bytes from where the copy begins, whatever was copied
  bool truncated = false;    ///< the copy ends before the headers do
  std::optional<EthernetHeader> ethernet;
  std::vector<VlanTag> vlans;  ///< outermost first
  std::optional<ArpHeader> arp;
  std::optional<IpHeader> ip;
  std::optional<TcpHeader> tcp;
  std::optional<PortsHeader> udp;
  std::optional<PortsHeader> sctp;
  std::optional<IcmpHeader> icmp;
  std::optional<std::uint32_t> esp_spi;
  std::optional<Tunnel> tunnel;
  std::vector<Packet> inner;  ///< at most one: what the tunnel carries, or the packet that an ICMP error quotes
  bool operator==(const Packet&) const = default;
};

/// Reads the headers. `protocol` (ETH_P_*, host order, as SkbFields has it) says what a copy begins with that starts at
/// the network layer; 0: IP, by its version. Any bytes are fine; nothing beyond them is read.
Packet dissect(const PacketBytes& bytes, std::uint16_t protocol = 0);

/// One line: "10.0.0.1:5000 > 10.0.0.2:80 tcp SYN seq 123 win 64240 ttl 63 len 60"; what a tunnel carries follows in
/// brackets.
std::string to_text(const Packet& packet);

/// "vxlan vni 7", "gre key 5", "ipip".
std::string to_text(const Tunnel& tunnel);

/// "SYN,ACK"; "none" without any.
std::string tcp_flags_text(std::uint8_t flags);

/// "tcp", "icmp6", …; a number's digits where it has no name here.
std::string ip_protocol_text(std::uint8_t protocol);

/// A value of a header field; monostate: there was none.
using FieldValue = std::variant<std::monostate, std::uint64_t, std::string>;

/// A header field that is not what it was.
struct FieldChange {
  std::string field;  ///< as in "changed" of weir.event/1: "dst", "ttl", "tunnel", "outer_dst", …
  FieldValue before;
  FieldValue after;
  bool operator==(const FieldChange&) const = default;
};

/// The fields that differ, in the order of the headers. The packets are compared from the inside: an encapsulated
/// packet is itself with one change, "tunnel"; fields of a tunnel's headers that change later on have the prefix
/// "outer_", those of a packet that ICMP quotes "quoted_". What one of both copies does not reach is no change, and
/// neither is a link layer that one of both does not have.
std::vector<FieldChange> packet_changes(const Packet& before, const Packet& after);

/// "dst 10.0.0.9 -> 10.1.0.2", "encapsulated in vxlan vni 7".
std::string to_text(const FieldChange& change);

}  // namespace weir::model
