#include "model/trace_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "model/json.h"
#include "model/json_writer.h"
#include "model/packet_json.h"
#include "model/trace_words.h"

namespace weir::model {

namespace {

using Json = nlohmann::ordered_json;

/// Text, or null where it is empty.
std::optional<std::string_view> if_any(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional<std::string_view>(text);
}

std::string hex(std::uint64_t number) {
  return fmt::format("{:#x}", number);
}
std::string ethertype(std::uint16_t type) {
  return fmt::format("{:#06x}", type);
}

void write_vlan(JsonWriter& to, std::uint16_t protocol, std::uint16_t tci) {
  to.object([&] {
    to.field("protocol", ethertype(protocol));
    to.field("id", tci & 0x0FFFU);
    to.field("priority", tci >> 13U);
  });
}

void write_skb(JsonWriter& to, const SkbFields& skb) {
  to.field("address", hex(skb.address));
  to.field("queue_mapping", skb.queue_mapping);
  to.field("mark", skb.mark);
  to.field("hash", skb.hash);
  to.field("priority", skb.priority);
  to.field("len", skb.len);
  to.field("gso_segs", skb.gso_segs);
  to.field("gso_size", skb.gso_size);
  to.field("protocol", ethertype(skb.protocol));
  to.key("vlan");
  skb.vlan_tci ? write_vlan(to, skb.vlan_protocol, *skb.vlan_tci) : to.null();
  to.field("napi_id", skb.napi_id);
  to.field("ip_summed", checksum_text(skb.ip_summed));
  to.field("iif", skb.iif);
}

void write_tuple(JsonWriter& to, const CtTuple& tuple) {
  to.field("src", tuple.src);
  to.field("sport", tuple.sport);
  to.field("dst", tuple.dst);
  to.field("dport", tuple.dport);
  to.field("protocol", ip_protocol_text(tuple.protocol));
}

void write_ct(JsonWriter& to, const Conntrack& ct) {
  to.field("state", ct.state);
  to.array("status", [&] {
    for (const std::string& word : conntrack_status_words(ct.status)) {
      to.item();
      to.value(word);
    }
  });
  to.field("mark", ct.mark);
  to.field("zone", ct.zone);
  to.object("original", [&] { write_tuple(to, ct.original); });
  to.object("reply", [&] { write_tuple(to, ct.reply); });
}

void write_nft(JsonWriter& to, const NftVerdict& nft) {
  to.field("family", nft.family);
  to.field("table", nft.table);
  to.field("chain", nft.chain);
  to.field("handle", nft.handle);
  to.field("type", nft.type);
  to.field("verdict", nft.verdict);
}

void write_drop(JsonWriter& to, const Drop& drop) {
  to.field("reason", drop.reason);
  to.field("number", drop.number);
  to.field("location", if_any(drop.location));
  to.field("address", hex(drop.address));
}

void write_fib(JsonWriter& to, const FibLookup& fib) {
  to.field("table", fib.table);
  to.field("error", fib.error);
  to.field("oif", fib.oif);
  to.field("src", if_any(fib.src));
  to.field("dst", fib.dst);
  to.field("gateway", if_any(fib.gateway));
}

void write_xdp(JsonWriter& to, const XdpOutcome& xdp) {
  to.field("action", xdp.action);
  to.key("program");
  xdp.program != 0 ? to.value(xdp.program) : to.null();
  to.field("error", xdp.error);
  to.field("to", xdp.to);
  to.field("sent", xdp.sent);
  to.field("dropped", xdp.dropped);
}

/// A value of a change; nearly all are numbers and words, for which a serializer is too dear.
void write_value(JsonWriter& to, const Json& value) {
  if (value.is_number_unsigned()) return to.value(value.get<std::uint64_t>());
  if (value.is_string()) return to.value(value.get_ref<const std::string&>());
  to.raw(to_text(value, -1));
}

void write_changes(JsonWriter& to, const FieldChanges& changes) {
  for (const auto& [name, values] : changes) {
    to.array(name, [&to, &pair = values] {
      to.item();
      write_value(to, pair.first);
      to.item();
      write_value(to, pair.second);
    });
  }
}

void write_stack(JsonWriter& to, const std::vector<std::string>& stack) {
  to.key("stack");
  if (stack.empty()) return to.null();
  to.array([&] {
    for (const std::string& frame : stack) {
      to.item();
      to.value(frame);
    }
  });
}

/// A field that is an object where there is something to say, else null.
template <class T, class Write>
void write_if(JsonWriter& to, const char* name, const std::optional<T>& content, Write write) {
  to.key(name);
  content ? to.object([&] { write(to, *content); }) : to.null();
}

void write_event(JsonWriter& to, const TraceEvent& event, const Packet* packet, const FieldChanges& changes,
                 std::chrono::nanoseconds wall_clock_offset) {
  const std::chrono::nanoseconds time(static_cast<std::int64_t>(event.time_ns));
  to.field("schema", "weir.event/1");
  to.field("time", format_utc(std::chrono::sys_time<Nanoseconds>(time + wall_clock_offset)));
  to.field("time_ns", event.time_ns);
  to.field("cpu", event.cpu);
  const bool alone = event.journey == 0;
  to.key("journey");
  alone ? to.null() : to.value(journey_text(event.journey));
  to.field("sequence", event.sequence);
  to.field("first", event.first);
  to.field("last", event.last);
  to.field("clone", event.clone);
  to.field("hook", event.hook.name);
  to.field("netns", if_any(event.device.netns.name));
  to.field("dev", event.device.ifindex.value == 0 ? std::nullopt : if_any(event.device.name));
  to.field("ifindex", event.device.ifindex.value);
  to.field("workload", if_any(event.workload));
  to.key("packet");
  packet != nullptr ? write_packet(to, *packet) : to.null();
  to.key("skb");
  alone ? to.null() : to.object([&] { write_skb(to, event.skb); });
  write_if(to, "ct", event.ct, write_ct);
  write_if(to, "nft", event.nft, write_nft);
  write_if(to, "drop", event.drop, write_drop);
  write_if(to, "fib", event.fib, write_fib);
  write_if(to, "xdp", event.xdp, write_xdp);
  to.field("result", event.result);
  to.object("changed", [&] { write_changes(to, changes); });
  write_stack(to, event.stack);
}

}  // namespace

Json to_json(const HookAccount& account) {
  return {{"seen", account.seen},         {"emitted", account.emitted},
          {"filtered", account.filtered}, {"sampled_out", account.sampled_out},
          {"lost", account.lost},         {"missed", account.missed}};
}

std::string journey_text(std::uint64_t journey) {
  return fmt::format("{:016x}", journey);
}

std::string event_line(const TraceEvent& event, const Packet* packet, const FieldChanges& changes,
                       std::chrono::nanoseconds wall_clock_offset) {
  JsonWriter to;
  to.object([&] { write_event(to, event, packet, changes, wall_clock_offset); });
  return std::move(to).take();
}

Json to_json(const TraceEvent& event, const Packet* packet, const FieldChanges& changes,
             std::chrono::nanoseconds wall_clock_offset) {
  return Json::parse(event_line(event, packet, changes, wall_clock_offset));
}

Json to_json(const Packet& packet) {
  JsonWriter to;
  write_packet(to, packet);
  return Json::parse(std::move(to).take());
}

Json to_json(const TraceSummary& summary) {
  Json json{{"schema", "weir.trace_summary/1"}};
  json.update(to_json(summary.total()));
  json["journeys"] = summary.journeys;
  json["journeys_complete"] = summary.journeys_complete;
  json["duration_ns"] = summary.duration_ns;
  Json hooks = Json::object();
  for (const auto& [name, account] : summary.hooks) hooks[name] = to_json(account);
  json["hooks"] = hooks;
  json["notes"] = summary.notes;
  return json;
}

}  // namespace weir::model
