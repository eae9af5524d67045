#include "model/packet_json.h"

#include <fmt/format.h>

namespace weir::model {

namespace {

std::string type_text(std::uint16_t type) {
  return fmt::format("{:#06x}", type);
}

void write_ethernet(JsonWriter& to, const EthernetHeader& link) {
  to.field("src", link.src);
  to.field("dst", link.dst);
  to.field("type", type_text(link.type));
}

void write_vlans(JsonWriter& to, const std::vector<VlanTag>& tags) {
  for (const VlanTag& tag : tags) {
    to.item();
    to.object([&] {
      to.field("protocol", type_text(tag.protocol));
      to.field("id", tag.id());
      to.field("priority", tag.priority());
    });
  }
}

void write_arp(JsonWriter& to, const ArpHeader& arp) {
  to.field("operation", arp.operation);
  to.field("sender_mac", arp.sender_mac);
  to.field("sender_ip", arp.sender_ip);
  to.field("target_mac", arp.target_mac);
  to.field("target_ip", arp.target_ip);
}

void write_ip(JsonWriter& to, const IpHeader& ip) {
  to.field("version", ip.version);
  to.field("src", ip.src);
  to.field("dst", ip.dst);
  to.field("protocol", ip_protocol_text(ip.protocol));
  to.field("ttl", ip.ttl);
  to.field("tos", ip.tos);
  to.field("length_bytes", ip.length);
  to.field("id", ip.id);
  to.field("df", ip.dont_fragment);
  to.field("mf", ip.more_fragments);
  to.field("fragment_offset_bytes", ip.fragment_offset);
  if (ip.version != 6) return;
  to.field("flow_label", ip.flow_label);
  to.array("extensions", [&] {
    for (const std::uint8_t number : ip.extensions) {
      to.item();
      to.value(ip_protocol_text(number));
    }
  });
}

void write_tcp(JsonWriter& to, const TcpHeader& tcp) {
  to.field("sport", tcp.sport);
  to.field("dport", tcp.dport);
  to.field("seq", tcp.seq);
  to.field("ack", tcp.ack);
  to.field("flags", tcp_flags_text(tcp.flags));
  to.field("window", tcp.window);
  to.field("payload_bytes", tcp.payload);
}

void write_ports(JsonWriter& to, const PortsHeader& ports) {
  to.field("sport", ports.sport);
  to.field("dport", ports.dport);
}

void write_icmp(JsonWriter& to, const IcmpHeader& icmp) {
  to.field("type", icmp.type);
  to.field("code", icmp.code);
  if (icmp.id) to.field("id", *icmp.id);
  if (icmp.seq) to.field("seq", *icmp.seq);
  if (icmp.mtu) to.field("mtu", *icmp.mtu);
  if (!icmp.target.empty()) to.field("target", icmp.target);
}

void write_tunnel(JsonWriter& to, const Tunnel& tunnel) {
  to.field("kind", to_string(tunnel.kind));
  if (tunnel.id) to.field(tunnel.kind == TunnelKind::gre ? "key" : "vni", *tunnel.id);
}

void write_headers(JsonWriter& to, const Packet& packet) {
  const auto part = [&to](const char* name, const auto& header, auto write) {
    if (header) to.object(name, [&] { write(to, *header); });
  };
  to.field("length_bytes", packet.length);
  to.field("truncated", packet.truncated);
  part("ethernet", packet.ethernet, write_ethernet);
  if (!packet.vlans.empty()) to.array("vlans", [&] { write_vlans(to, packet.vlans); });
  part("arp", packet.arp, write_arp);
  part("ip", packet.ip, write_ip);
  part("tcp", packet.tcp, write_tcp);
  part("udp", packet.udp, write_ports);
  part("sctp", packet.sctp, write_ports);
  part("icmp", packet.icmp, write_icmp);
  if (packet.esp_spi) to.object("esp", [&] { to.field("spi", *packet.esp_spi); });
  part("tunnel", packet.tunnel, write_tunnel);
  if (!packet.inner.empty()) {
    to.object(packet.tunnel ? "inner" : "quoted", [&] { write_headers(to, packet.inner.front()); });
  }
}

}  // namespace

void write_packet(JsonWriter& to, const Packet& packet) {
  to.object([&] {
    to.field("text", to_text(packet));
    write_headers(to, packet);
  });
}

}  // namespace weir::model
