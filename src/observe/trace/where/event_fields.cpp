#include "observe/trace/where/event_fields.h"

#include <algorithm>
#include <iterator>

namespace weir::observe {

namespace {

/// An event with what is known of its packet.
struct Seen {
  const model::TraceEvent& event;
  const model::Packet* packet;
  const model::Conntrack* ct;
};

struct Row {
  Field field;
  Value (*read)(const Seen&);
};

Value text(std::string_view value) {
  return value.empty() ? Value{} : Value{value};
}
Value number(std::uint64_t value) {
  return value;
}

template <class T, class Read>
Value of(const T* thing, Read read) {
  return thing == nullptr ? Value{} : Value{read(*thing)};
}
template <class T, class Read>
Value of(const std::optional<T>& thing, Read read) {
  return thing ? Value{read(*thing)} : Value{};
}

Value vlan(const Seen& seen) {
  if (seen.event.skb.vlan_tci) return number(*seen.event.skb.vlan_tci & 0x0FFFU);
  if (seen.packet != nullptr && !seen.packet->vlans.empty()) return number(seen.packet->vlans.front().id());
  return {};
}

Value address(const Seen& seen, std::string model::IpHeader::*ip, std::string model::ArpHeader::*arp) {
  if (seen.packet == nullptr) return {};
  if (seen.packet->ip) return text(*seen.packet->ip.*ip);
  if (seen.packet->arp) return text(*seen.packet->arp.*arp);
  return {};
}

Value port(const Seen& seen, std::uint16_t model::TcpHeader::*tcp, std::uint16_t model::PortsHeader::*other) {
  if (seen.packet == nullptr) return {};
  if (seen.packet->tcp) return number(*seen.packet->tcp.*tcp);
  if (seen.packet->udp) return number(*seen.packet->udp.*other);
  if (seen.packet->sctp) return number(*seen.packet->sctp.*other);
  return {};
}

std::vector<Row> place_rows() {
  return {
      {{"netns", FieldKind::text, "namespace, by its name; without one \"id:N\", and \"init\" is the initial one"},
       [](const Seen& s) { return text(s.event.device.netns.name); }},
      {{"dev", FieldKind::text, "device, by its name in that namespace"},
       [](const Seen& s) { return text(s.event.device.name); }},
      {{"ifindex", FieldKind::number, "device, by its number in that namespace"},
       [](const Seen& s) {
         const auto index = static_cast<std::uint64_t>(s.event.device.ifindex.value);
         return index == 0 ? Value{} : Value{index};
       }},
      {{"workload", FieldKind::text, "who owns the packet there"},
       [](const Seen& s) { return text(s.event.workload); }},
      {{"hook", FieldKind::text, "where it was seen: net:net_dev_queue, nf:PRE_ROUTING:first, …"},
       [](const Seen& s) { return text(s.event.hook.name); }},
      {{"cpu", FieldKind::number, "processor"}, [](const Seen& s) { return number(s.event.cpu); }},
  };
}

std::vector<Row> skb_rows() {
  return {
      {{"mark", FieldKind::number, "skb->mark; mark == 0x10/0xff looks at the bits of the mask only"},
       [](const Seen& s) { return number(s.event.skb.mark); }},
      {{"hash", FieldKind::number, "skb->hash; 0: not computed"},
       [](const Seen& s) { return number(s.event.skb.hash); }},
      {{"priority", FieldKind::number, "skb->priority"}, [](const Seen& s) { return number(s.event.skb.priority); }},
      {{"queue_mapping", FieldKind::number, "skb->queue_mapping"},
       [](const Seen& s) { return number(s.event.skb.queue_mapping); }},
      {{"len", FieldKind::number, "skb->len, bytes"}, [](const Seen& s) { return number(s.event.skb.len); }},
      {{"gso_segs", FieldKind::number, "packets that this one will become"},
       [](const Seen& s) { return number(s.event.skb.gso_segs); }},
      {{"gso_size", FieldKind::number, "payload of each of these, bytes"},
       [](const Seen& s) { return number(s.event.skb.gso_size); }},
      {{"vlan", FieldKind::number, "VLAN id, of the accelerated tag or else of the outermost in the frame"}, vlan},
      {{"napi_id", FieldKind::number, "the NAPI that received it"},
       [](const Seen& s) { return number(s.event.skb.napi_id); }},
  };
}

std::vector<Row> verdict_rows() {
  return {
      {{"drop.reason", FieldKind::text, "why it was dropped, without SKB_DROP_REASON_: NETFILTER_DROP"},
       [](const Seen& s) { return of(s.event.drop, [](const auto& drop) { return std::string_view(drop.reason); }); }},
      {{"drop.location", FieldKind::text, "where it was dropped: function+offset"},
       [](const Seen& s) {
         return of(s.event.drop, [](const auto& drop) { return std::string_view(drop.location); });
       }},
      {{"ct.state", FieldKind::text, "connection: new, established, related, established-reply, …"},
       [](const Seen& s) { return of(s.ct, [](const auto& ct) { return std::string_view(ct.state); }); }},
      {{"ct.zone", FieldKind::number, "connection: its conntrack zone"},
       [](const Seen& s) { return of(s.ct, [](const auto& ct) { return std::uint64_t{ct.zone}; }); }},
      {{"ct.mark", FieldKind::number, "connection: its mark"},
       [](const Seen& s) { return of(s.ct, [](const auto& ct) { return std::uint64_t{ct.mark}; }); }},
      {{"nft.table", FieldKind::text, "nftables: the table that looked at it"},
       [](const Seen& s) { return of(s.event.nft, [](const auto& nft) { return std::string_view(nft.table); }); }},
      {{"nft.chain", FieldKind::text, "nftables: the chain of that"},
       [](const Seen& s) { return of(s.event.nft, [](const auto& nft) { return std::string_view(nft.chain); }); }},
      {{"nft.handle", FieldKind::number, "nftables: the rule, as nft -a shows it; 0: the chain's policy or end"},
       [](const Seen& s) { return of(s.event.nft, [](const auto& nft) { return nft.handle; }); }},
      {{"nft.verdict", FieldKind::text, "nftables: what it said: accept, drop, \"jump NAME\", …"},
       [](const Seen& s) { return of(s.event.nft, [](const auto& nft) { return std::string_view(nft.verdict); }); }},
  };
}

std::vector<Row> header_rows() {
  using model::ArpHeader;
  using model::IpHeader;
  using model::PortsHeader;
  using model::TcpHeader;
  const std::vector<std::pair<std::string, std::uint64_t>> protocols{
      {"icmp", 1}, {"igmp", 2}, {"ipip", 4},   {"tcp", 6},     {"udp", 17},  {"ipv6", 41},  {"gre", 47},
      {"esp", 50}, {"ah", 51},  {"icmp6", 58}, {"icmpv6", 58}, {"ospf", 89}, {"sctp", 132}, {"udplite", 136}};
  return {
      {{"proto", FieldKind::number, "protocol behind the IP headers, number or name", protocols},
       [](const Seen& s) { return s.packet == nullptr || !s.packet->ip ? Value{} : number(s.packet->ip->protocol); }},
      {{"src", FieldKind::address, "sender, an address or a network; of ARP, too"},
       [](const Seen& s) { return address(s, &IpHeader::src, &ArpHeader::sender_ip); }},
      {{"dst", FieldKind::address, "receiver, an address or a network; of ARP, too"},
       [](const Seen& s) { return address(s, &IpHeader::dst, &ArpHeader::target_ip); }},
      {{"sport", FieldKind::number, "port of the sender"},
       [](const Seen& s) { return port(s, &TcpHeader::sport, &PortsHeader::sport); }},
      {{"dport", FieldKind::number, "port of the receiver"},
       [](const Seen& s) { return port(s, &TcpHeader::dport, &PortsHeader::dport); }},
  };
}

const std::vector<Row>& rows() {
  static const std::vector<Row> all = [] {
    std::vector<Row> out;
    for (auto part : {place_rows(), skb_rows(), verdict_rows(), header_rows()}) {
      std::ranges::move(part, std::back_inserter(out));
    }
    return out;
  }();
  return all;
}

}  // namespace

std::span<const Field> event_fields() {
  static const std::vector<Field> fields = [] {
    std::vector<Field> out;
    for (const Row& row : rows()) out.push_back(row.field);
    return out;
  }();
  return fields;
}

Value event_value(std::size_t index, const model::TraceEvent& event, const model::Packet* packet,
                  const model::Conntrack* ct) {
  return rows()[index].read({event, packet, ct});
}

bool matches(const Where& where, const model::TraceEvent& event, const model::Packet* packet,
             const model::Conntrack* ct) {
  return where.matches([&](std::size_t index) { return event_value(index, event, packet, ct); });
}

}  // namespace weir::observe
