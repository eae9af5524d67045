#include <fmt/format.h>

#include <cstddef>

#include "model/packet.h"

namespace weir::model {

namespace {

FieldValue value(std::uint64_t number) {
  return number;
}
FieldValue value(std::string text) {
  return text;
}
template <class T>
FieldValue value(const std::optional<T>& number) {
  return number ? FieldValue(std::uint64_t{*number}) : FieldValue();
}

/// Collects what differs of one packet, under names with its prefix.
class Comparison {
 public:
  Comparison(std::vector<FieldChange>& changes, std::string prefix) : changes_(changes), prefix_(std::move(prefix)) {}

  template <class T>
  void field(const char* name, const T& before, const T& after) {
    if (before != after) changes_.push_back({prefix_ + name, value(before), value(after)});
  }

 private:
  std::vector<FieldChange>& changes_;
  std::string prefix_;
};

std::string vlans_text(const std::vector<VlanTag>& tags) {
  std::string text;
  for (const VlanTag& tag : tags) {
    if (!text.empty()) text += ',';
    text += std::to_string(tag.id());
    if (tag.priority() != 0) text += fmt::format(" p{}", tag.priority());
  }
  return text.empty() ? "none" : text;
}

void compare_ip(Comparison& to, const IpHeader& before, const IpHeader& after, bool whole) {
  to.field("ip_version", std::uint64_t{before.version}, std::uint64_t{after.version});
  to.field("src", before.src, after.src);
  to.field("dst", before.dst, after.dst);
  to.field("ttl", std::uint64_t{before.ttl}, std::uint64_t{after.ttl});
  to.field("tos", std::uint64_t{before.tos}, std::uint64_t{after.tos});
  to.field("ip_length", std::uint64_t{before.length}, std::uint64_t{after.length});
  to.field("flow_label", std::uint64_t{before.flow_label}, std::uint64_t{after.flow_label});
  // In IPv6 the rest stands in the extension headers, which a copy may not reach.
  if (!whole && (before.version == 6 || after.version == 6)) return;
  to.field("ip_protocol", ip_protocol_text(before.protocol), ip_protocol_text(after.protocol));
  to.field("ip_id", before.id, after.id);
  to.field("df", std::uint64_t{before.dont_fragment}, std::uint64_t{after.dont_fragment});
  to.field("mf", std::uint64_t{before.more_fragments}, std::uint64_t{after.more_fragments});
  to.field("fragment_offset", std::uint64_t{before.fragment_offset}, std::uint64_t{after.fragment_offset});
}

void compare_tcp(Comparison& to, const TcpHeader& before, const TcpHeader& after, bool whole) {
  to.field("sport", std::uint64_t{before.sport}, std::uint64_t{after.sport});
  to.field("dport", std::uint64_t{before.dport}, std::uint64_t{after.dport});
  if (!whole) return;
  to.field("seq", std::uint64_t{before.seq}, std::uint64_t{after.seq});
  to.field("ack", std::uint64_t{before.ack}, std::uint64_t{after.ack});
  to.field("flags", tcp_flags_text(before.flags), tcp_flags_text(after.flags));
  to.field("window", std::uint64_t{before.window}, std::uint64_t{after.window});
}

void compare_ports(Comparison& to, const std::optional<PortsHeader>& before, const std::optional<PortsHeader>& after) {
  if (!before || !after) return;
  to.field("sport", std::uint64_t{before->sport}, std::uint64_t{after->sport});
  to.field("dport", std::uint64_t{before->dport}, std::uint64_t{after->dport});
}

void compare_icmp(Comparison& to, const IcmpHeader& before, const IcmpHeader& after, bool whole) {
  to.field("icmp_type", std::uint64_t{before.type}, std::uint64_t{after.type});
  to.field("icmp_code", std::uint64_t{before.code}, std::uint64_t{after.code});
  if (!whole) return;
  to.field("icmp_id", before.id, after.id);
  to.field("icmp_seq", before.seq, after.seq);
  to.field("mtu", before.mtu, after.mtu);
}

/// The headers of one packet, without what it carries.
void compare_headers(std::vector<FieldChange>& changes, const std::string& prefix, const Packet& before,
                     const Packet& after) {
  Comparison to(changes, prefix);
  const bool whole = !before.truncated && !after.truncated;
  if (before.ethernet && after.ethernet) {
    to.field("eth_src", before.ethernet->src, after.ethernet->src);
    to.field("eth_dst", before.ethernet->dst, after.ethernet->dst);
    const bool all_tags = whole || (before.ip && after.ip);
    if (all_tags) to.field("vlan_tags", vlans_text(before.vlans), vlans_text(after.vlans));
  }
  if (before.arp && after.arp) {
    to.field("arp_operation", std::uint64_t{before.arp->operation}, std::uint64_t{after.arp->operation});
    to.field("arp_sender", before.arp->sender_ip, after.arp->sender_ip);
    to.field("arp_target", before.arp->target_ip, after.arp->target_ip);
  }
  if (before.ip && after.ip) compare_ip(to, *before.ip, *after.ip, whole);
  if (before.tcp && after.tcp) compare_tcp(to, *before.tcp, *after.tcp, whole);
  compare_ports(to, before.udp, after.udp);
  compare_ports(to, before.sctp, after.sctp);
  if (before.icmp && after.icmp) compare_icmp(to, *before.icmp, *after.icmp, whole);
  if (before.esp_spi && after.esp_spi) to.field("esp_spi", before.esp_spi, after.esp_spi);
  const bool quote = !before.tunnel && !after.tunnel && !before.inner.empty() && !after.inner.empty();
  if (quote) compare_headers(changes, prefix + "quoted_", before.inner.front(), after.inner.front());
}

/// A packet and what its tunnels carry, outermost first; nullptr at the end: a tunnel whose content was not copied.
std::vector<const Packet*> layers(const Packet& packet) {
  std::vector<const Packet*> all{&packet};
  while (all.back() != nullptr && all.back()->tunnel) {
    all.push_back(all.back()->inner.empty() ? nullptr : &all.back()->inner.front());
  }
  return all;
}

/// The tunnels that only the deeper one of two packets has: "vxlan vni 7 (172.16.0.1 > 172.16.0.2)".
std::string tunnels_text(const std::vector<const Packet*>& deep, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    if (!text.empty()) text += ", ";
    text += to_text(*deep[i]->tunnel);
    if (deep[i]->ip) text += fmt::format(" ({} > {})", deep[i]->ip->src, deep[i]->ip->dst);
  }
  return text;
}

/// "outer_" for the header around the innermost one, "outer2_" for the one around that.
std::string outer_prefix(std::size_t distance) {
  if (distance == 0) return {};
  return distance == 1 ? "outer_" : fmt::format("outer{}_", distance);
}

/// Whether one copy ends before the tunnel that the other one shows.
bool same_but_cut(const Packet& before, const Packet& after) {
  if (!before.truncated && !after.truncated) return false;
  if (!before.ip || !after.ip) return true;
  return before.ip->src == after.ip->src && before.ip->dst == after.ip->dst;
}

void compare_tunnels(std::vector<FieldChange>& changes, const std::string& prefix, const Packet& before,
                     const Packet& after) {
  if (!before.tunnel || !after.tunnel || before.tunnel == after.tunnel) return;
  const bool whole = !before.truncated && !after.truncated;
  const bool ids_known = whole || (before.tunnel->id && after.tunnel->id);
  if (before.tunnel->kind == after.tunnel->kind && !ids_known) return;
  changes.push_back({prefix + "tunnel", to_text(*before.tunnel), to_text(*after.tunnel)});
}

std::string value_text(const FieldValue& value) {
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return std::to_string(*number);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return "none";
}

}  // namespace

std::vector<FieldChange> packet_changes(const Packet& before, const Packet& after) {
  std::vector<FieldChange> changes;
  auto was = layers(before);
  auto is = layers(after);
  const std::size_t common = std::min(was.size(), is.size());
  if (was.size() != is.size() && same_but_cut(before, after)) {
    was.resize(common);
    is.resize(common);
  } else if (is.size() > common) {
    changes.push_back({"tunnel", {}, tunnels_text(is, is.size() - common)});
  } else if (was.size() > common) {
    changes.push_back({"tunnel", tunnels_text(was, was.size() - common), {}});
  }
  for (std::size_t distance = common; distance-- > 0;) {
    const Packet* old_layer = was[was.size() - 1 - distance];
    const Packet* new_layer = is[is.size() - 1 - distance];
    if (old_layer == nullptr || new_layer == nullptr) continue;
    compare_headers(changes, outer_prefix(distance), *old_layer, *new_layer);
    compare_tunnels(changes, outer_prefix(distance), *old_layer, *new_layer);
  }
  return changes;
}

std::string to_text(const FieldChange& change) {
  if (change.field == "tunnel") {
    if (std::holds_alternative<std::monostate>(change.before)) return "encapsulated in " + value_text(change.after);
    if (std::holds_alternative<std::monostate>(change.after)) return "decapsulated from " + value_text(change.before);
  }
  return fmt::format("{} {} -> {}", change.field, value_text(change.before), value_text(change.after));
}

}  // namespace weir::model
