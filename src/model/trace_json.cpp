#include "model/trace_json.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "model/trace_words.h"

namespace weir::model {

namespace {

using Json = nlohmann::ordered_json;

Json or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json vlan_json(std::uint16_t tci) {
  return {{"id", tci & 0x0FFFU}, {"priority", tci >> 13U}};
}

Json skb_json(const SkbFields& skb) {
  return {{"address", fmt::format("{:#x}", skb.address)},
          {"queue_mapping", skb.queue_mapping},
          {"mark", skb.mark},
          {"hash", skb.hash},
          {"priority", skb.priority},
          {"len", skb.len},
          {"gso_segs", skb.gso_segs},
          {"gso_size", skb.gso_size},
          {"protocol", fmt::format("{:#06x}", skb.protocol)},
          {"vlan", skb.vlan_tci ? vlan_json(*skb.vlan_tci) : Json()},
          {"napi_id", skb.napi_id},
          {"ip_summed", checksum_text(skb.ip_summed)},
          {"iif", skb.iif}};
}

Json tuple_json(const CtTuple& tuple) {
  return {{"src", tuple.src},
          {"sport", tuple.sport},
          {"dst", tuple.dst},
          {"dport", tuple.dport},
          {"protocol", ip_protocol_text(tuple.protocol)}};
}

Json ct_json(const Conntrack& ct) {
  return {{"state", ct.state}, {"status", conntrack_status_words(ct.status)}, {"mark", ct.mark},
          {"zone", ct.zone},   {"original", tuple_json(ct.original)},         {"reply", tuple_json(ct.reply)}};
}

Json nft_json(const NftVerdict& nft) {
  return {{"family", nft.family}, {"table", nft.table}, {"chain", nft.chain},
          {"handle", nft.handle}, {"type", nft.type},   {"verdict", nft.verdict}};
}

Json drop_json(const Drop& drop) {
  return {{"reason", drop.reason},
          {"number", drop.number},
          {"location", or_null(drop.location)},
          {"address", fmt::format("{:#x}", drop.address)}};
}

Json fib_json(const FibLookup& fib) {
  return {{"table", fib.table},      {"error", fib.error}, {"oif", fib.oif},
          {"src", or_null(fib.src)}, {"dst", fib.dst},     {"gateway", or_null(fib.gateway)}};
}

Json ip_json(const IpHeader& ip) {
  Json extensions = Json::array();
  for (const std::uint8_t number : ip.extensions) extensions.push_back(ip_protocol_text(number));
  Json json{{"version", ip.version},
            {"src", ip.src},
            {"dst", ip.dst},
            {"protocol", ip_protocol_text(ip.protocol)},
            {"ttl", ip.ttl},
            {"tos", ip.tos},
            {"length_bytes", ip.length},
            {"id", or_null(ip.id)},
            {"df", ip.dont_fragment},
            {"mf", ip.more_fragments},
            {"fragment_offset_bytes", ip.fragment_offset}};
  if (ip.version == 6) {
    json["flow_label"] = ip.flow_label;
    json["extensions"] = extensions;
  }
  return json;
}

Json ports_json(const PortsHeader& ports) {
  return {{"sport", ports.sport}, {"dport", ports.dport}};
}

Json tcp_json(const TcpHeader& tcp) {
  return {{"sport", tcp.sport},
          {"dport", tcp.dport},
          {"seq", tcp.seq},
          {"ack", tcp.ack},
          {"flags", tcp_flags_text(tcp.flags)},
          {"window", tcp.window},
          {"payload_bytes", tcp.payload}};
}

Json icmp_json(const IcmpHeader& icmp) {
  Json json{{"type", icmp.type}, {"code", icmp.code}};
  if (icmp.id) json["id"] = *icmp.id;
  if (icmp.seq) json["seq"] = *icmp.seq;
  if (icmp.mtu) json["mtu"] = *icmp.mtu;
  if (!icmp.target.empty()) json["target"] = icmp.target;
  return json;
}

Json arp_json(const ArpHeader& arp) {
  return {{"operation", arp.operation},
          {"sender_mac", arp.sender_mac},
          {"sender_ip", arp.sender_ip},
          {"target_mac", arp.target_mac},
          {"target_ip", arp.target_ip}};
}

Json tunnel_json(const Tunnel& tunnel) {
  Json json{{"kind", to_string(tunnel.kind)}};
  if (tunnel.id) json[tunnel.kind == TunnelKind::gre ? "key" : "vni"] = *tunnel.id;
  return json;
}

/// The headers of a packet, without the text of the whole.
Json headers_json(const Packet& packet) {
  Json json{{"length_bytes", packet.length}, {"truncated", packet.truncated}};
  if (const auto& link = packet.ethernet) {
    json["ethernet"] = {{"src", link->src}, {"dst", link->dst}, {"type", fmt::format("{:#06x}", link->type)}};
  }
  if (!packet.vlans.empty()) {
    Json tags = Json::array();
    for (const VlanTag& tag : packet.vlans) tags.push_back(vlan_json(tag.tci));
    json["vlans"] = tags;
  }
  if (packet.arp) json["arp"] = arp_json(*packet.arp);
  if (packet.ip) json["ip"] = ip_json(*packet.ip);
  if (packet.tcp) json["tcp"] = tcp_json(*packet.tcp);
  if (packet.udp) json["udp"] = ports_json(*packet.udp);
  if (packet.sctp) json["sctp"] = ports_json(*packet.sctp);
  if (packet.icmp) json["icmp"] = icmp_json(*packet.icmp);
  if (packet.esp_spi) json["esp"] = {{"spi", *packet.esp_spi}};
  if (packet.tunnel) json["tunnel"] = tunnel_json(*packet.tunnel);
  if (!packet.inner.empty()) json[packet.tunnel ? "inner" : "quoted"] = headers_json(packet.inner.front());
  return json;
}

Json account_json(const HookAccount& account) {
  return {{"seen", account.seen},
          {"emitted", account.emitted},
          {"filtered", account.filtered},
          {"sampled_out", account.sampled_out},
          {"lost", account.lost}};
}

}  // namespace

std::string journey_text(std::uint64_t journey) {
  return fmt::format("{:016x}", journey);
}

Json to_json(const Packet& packet) {
  Json json{{"text", to_text(packet)}};
  json.update(headers_json(packet));
  return json;
}

Json to_json(const TraceEvent& event, const Packet* packet, const FieldChanges& changes,
             std::chrono::nanoseconds wall_clock_offset) {
  const std::chrono::nanoseconds time(static_cast<std::int64_t>(event.time_ns));
  Json changed = Json::object();
  for (const auto& [field, values] : changes) changed[field] = Json::array({values.first, values.second});
  return {{"schema", "weir.event/1"},
          {"time", format_utc(std::chrono::sys_time<Nanoseconds>(time + wall_clock_offset))},
          {"time_ns", event.time_ns},
          {"cpu", event.cpu},
          {"journey", journey_text(event.journey)},
          {"sequence", event.sequence},
          {"first", event.first},
          {"last", event.last},
          {"clone", event.clone},
          {"hook", event.hook.name},
          {"netns", or_null(event.device.netns.name)},
          {"dev", event.device.ifindex.value == 0 ? Json() : Json(event.device.name)},
          {"ifindex", event.device.ifindex.value},
          {"workload", or_null(event.workload)},
          {"packet", packet == nullptr ? Json() : to_json(*packet)},
          {"skb", skb_json(event.skb)},
          {"ct", event.ct ? ct_json(*event.ct) : Json()},
          {"nft", event.nft ? nft_json(*event.nft) : Json()},
          {"drop", event.drop ? drop_json(*event.drop) : Json()},
          {"fib", event.fib ? fib_json(*event.fib) : Json()},
          {"result", or_null(event.result)},
          {"changed", changed},
          {"stack", event.stack.empty() ? Json() : Json(event.stack)}};
}

Json to_json(const TraceSummary& summary) {
  Json json{{"schema", "weir.trace_summary/1"}};
  json.update(account_json(summary.total()));
  json["journeys"] = summary.journeys;
  json["journeys_complete"] = summary.journeys_complete;
  json["duration_ns"] = summary.duration_ns;
  Json hooks = Json::object();
  for (const auto& [name, account] : summary.hooks) hooks[name] = account_json(account);
  json["hooks"] = hooks;
  json["notes"] = summary.notes;
  return json;
}

}  // namespace weir::model
