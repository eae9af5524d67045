#include "model/flow_json.h"

#include <fmt/format.h>

#include <cmath>

#include "base/text.h"
#include "base/units.h"
#include "model/json_writer.h"

namespace weir::model {

namespace {

std::string utc(std::chrono::nanoseconds monotonic, std::chrono::nanoseconds offset) {
  return format_utc(std::chrono::sys_time<std::chrono::nanoseconds>(monotonic + offset));
}

void write_tuple(JsonWriter& to, const FlowTuple& tuple) {
  const int family = tuple.family();
  const bool ip = family != 0;
  to.field("family", ip ? std::optional(family) : std::nullopt);
  to.field("protocol", protocol_text(tuple));
  to.field("src", ip ? std::optional(address_text(tuple.source, family)) : std::nullopt);
  to.field("sport", tuple.source_port);
  to.field("dst", ip ? std::optional(address_text(tuple.destination, family)) : std::nullopt);
  to.field("dport", tuple.destination_port);
}

void write_key(JsonWriter& to, const FlowKey& key, const DeviceRef& device) {
  to.field("netns", device.netns.name);
  to.field("netns_id", device.netns.id);
  to.field("dev", device.name);
  to.field("direction", to_string(key.direction));
  write_tuple(to, key.tuple);
  to.field("vlan", key.vlan != 0 ? std::optional(key.vlan) : std::nullopt);
}

void write_nat(JsonWriter& to, const std::optional<FlowNat>& nat) {
  if (!nat) {
    to.key("nat");
    to.null();
    return;
  }
  to.object("nat", [&] {
    to.object("original", [&] { write_tuple(to, nat->original); });
    to.object("reply", [&] { write_tuple(to, nat->reply); });
    to.field("rewrites", nat->rewrites());
    to.field("zone", nat->zone);
    to.field("mark", nat->mark);
  });
}

void write_workload(JsonWriter& to, const char* key, const std::optional<WorkloadRef>& workload) {
  if (!workload) {
    to.key(key);
    to.null();
    return;
  }
  to.object(key, [&] {
    to.field("kind", workload->kind);
    to.field("name", workload->name);
    to.field("id", workload->id);
  });
}

std::int64_t whole(double value) {
  return std::llround(value);
}

std::string id_text(std::uint64_t id) {
  return fmt::format("{:016x}", id);
}

void write_conntrack_side(JsonWriter& to, const char* key, const FlowTuple& tuple,
                          const std::optional<ConntrackCount>& count) {
  to.object(key, [&] {
    write_tuple(to, tuple);
    if (!count) return;  // the kernel does not count, which is not the same as none
    to.field("packets", count->packets);
    to.field("bytes", count->bytes);
  });
}

void write_conntrack(JsonWriter& to, const ConntrackEntry* entry) {
  if (entry == nullptr) {
    to.key("ct");
    to.null();
    return;
  }
  to.object("ct", [&] {
    const std::string_view state = state_text(*entry);
    to.field("zone", entry->zone);
    to.field("mark", entry->mark);
    to.field("state", state.empty() ? std::nullopt : std::optional(state));
    to.array("status", [&] {
      for (const std::string_view name : status_names(entry->status)) {
        to.item();
        to.value(name);
      }
    });
    to.field("id", entry->id);
    to.field("timeout_s", entry->timeout_s);
    to.field("ended", entry->ended);
    if (entry->started) to.field("started", format_utc(*entry->started));
    if (entry->icmp_id != 0) to.field("icmp_id", entry->icmp_id);
    write_conntrack_side(to, "original", entry->original, entry->original_count);
    write_conntrack_side(to, "reply", entry->reply, entry->reply_count);
  });
}

void write_way(JsonWriter& to, const char* key, const ConnectionWay& way) {
  to.object(key, [&] {
    to.field("bytes", way.window.bytes);
    to.field("packets", way.window.packets);
    to.field("wire_packets", way.window.wire_packets);
    to.field("total_bytes", way.total.bytes);
    to.field("total_packets", way.total.packets);
    to.field("total_wire_packets", way.total.wire_packets);
    to.field("rate_bps", whole(way.rate_bps));
    to.field("srtt_us", way.tcp ? std::optional(way.tcp->srtt_us) : std::nullopt);
    to.field("retransmits", way.tcp ? std::optional(way.tcp->retransmits) : std::nullopt);
    if (!way.counted_at) {
      to.key("counted_at");
      to.null();
      return;
    }
    to.object("counted_at", [&] {
      to.field("netns", way.counted_at->netns.name);
      to.field("dev", way.counted_at->name);
      to.field("direction", to_string(way.counted_direction));
    });
  });
}

/// What the responder gets where that is not what the initiator sends.
void write_translation(JsonWriter& to, const Connection& connection) {
  if (connection.responder == connection.initiator) {
    to.key("nat");
    to.null();
    return;
  }
  to.object("nat", [&] { write_tuple(to, connection.responder); });
}

void write_conntrack_account(JsonWriter& to, const ConntrackAccount& account) {
  to.object("conntrack", [&] {
    to.field("source", to_string(account.rung));
    to.field("namespaces", account.namespaces);
    to.field("entries", account.entries);
    to.field("dumps", account.dumps);
    to.field("events", account.events);
    to.field("resyncs", account.resyncs);
    to.field("not_kept", account.not_kept);
    to.field("malformed", account.malformed);
    to.array("unread", [&] {
      for (const std::string& why : account.unread) {
        to.item();
        to.value(why);
      }
    });
  });
}

void write_account(JsonWriter& to, const LedgerLine& line) {
  to.field("accounted_bytes", line.accounted_bytes);
  to.field("overflow_bytes", line.overflow_bytes);
  to.field("unattributed_bytes", line.unattributed_bytes());
  to.field("interface_bytes", line.interface_bytes);
  to.field("link_header_bytes", line.link_header_bytes);
  to.field("segment_header_bytes", line.segment_header_bytes);
  to.field("below_bytes", line.below_bytes);
  to.field("moment_bytes", line.moment_bytes);
}

}  // namespace

std::string flow_line(const Flow& flow, std::chrono::nanoseconds wall_clock_offset) {
  JsonWriter to;
  to.object([&] {
    to.field("schema", "weir.flow/1");
    write_key(to, flow.key, flow.device);
    write_nat(to, flow.nat);
    to.field("packets", flow.window.packets);
    to.field("bytes", flow.window.bytes);
    to.field("wire_packets", flow.window.wire_packets);
    to.field("total_packets", flow.total.packets);
    to.field("total_bytes", flow.total.bytes);
    to.field("total_wire_packets", flow.total.wire_packets);
    to.field("first_seen", utc(flow.first_seen, wall_clock_offset));
    to.field("last_seen", utc(flow.last_seen, wall_clock_offset));
    to.field("rate_bps", whole(flow.rate_bps));
    to.field("tcp_flags", flow.tcp_flags);
    to.field("srtt_us", flow.tcp ? std::optional(flow.tcp->srtt_us) : std::nullopt);
    to.field("retransmits", flow.tcp ? std::optional(flow.tcp->retransmits) : std::nullopt);
    to.field("class", to_string(flow.flow_class));
    to.field("cgroup", flow.cgroup);
    write_workload(to, "workload", flow.workload);
    to.field("connection", flow.connection ? std::optional(id_text(flow.connection->id)) : std::nullopt);
    to.field("counted", flow.connection ? std::optional(flow.connection->counted) : std::nullopt);
    write_conntrack(to, flow.conntrack.get());
  });
  return std::move(to).take();
}

std::string flow_event_line(const FlowEvent& event, const DeviceRef& device,
                            std::chrono::nanoseconds wall_clock_offset) {
  JsonWriter to;
  to.object([&] {
    to.field("schema", "weir.flow_event/1");
    to.field("time", utc(event.time, wall_clock_offset));
    to.field("time_ns", event.time.count());
    to.field("event", to_string(event.kind));
    write_key(to, event.key, device);
    to.field("bytes", event.bytes);
    to.field("rate_bps", whole(event.rate_bps));
  });
  return std::move(to).take();
}

std::string connection_line(const Connection& connection, std::chrono::nanoseconds wall_clock_offset) {
  JsonWriter to;
  to.object([&] {
    to.field("schema", "weir.connection/1");
    to.field("connection", id_text(connection.id));
    write_tuple(to, connection.initiator);
    write_translation(to, connection);
    to.field("bytes", connection.bytes());
    write_way(to, "to_responder", connection.to_responder);
    write_way(to, "to_initiator", connection.to_initiator);
    to.array("devices", [&] {
      for (const DeviceRef& device : connection.path) {
        to.item();
        to.object([&] {
          to.field("netns", device.netns.name);
          to.field("netns_id", device.netns.id);
          to.field("dev", device.name);
        });
      }
    });
    const std::string_view state = connection.conntrack ? state_text(*connection.conntrack) : std::string_view();
    to.field("state", state.empty() ? std::nullopt : std::optional(state));
    to.field("first_seen", utc(connection.first_seen, wall_clock_offset));
    to.field("last_seen", utc(connection.last_seen, wall_clock_offset));
    to.field("tcp_flags", connection.tcp_flags);
    to.field("class", to_string(connection.flow_class));
    write_workload(to, "initiator_workload", connection.initiator_workload);
    write_workload(to, "responder_workload", connection.responder_workload);
    write_conntrack(to, connection.conntrack.get());
  });
  return std::move(to).take();
}

std::string ledger_line(const FlowWindow& window, const ConntrackAccount* conntrack) {
  JsonWriter to;
  to.object([&] {
    to.field("schema", "weir.ledger/1");
    write_account(to, window.ledger.total());
    to.field("flows", window.flows.size());
    to.object("window", [&] {
      to.field("start", format_utc(window.start));
      to.field("duration_ns", window.duration.count());
    });
    if (conntrack != nullptr) write_conntrack_account(to, *conntrack);
    to.array("devices", [&] {
      for (const LedgerLine& line : window.ledger.lines) {
        to.item();
        to.object([&] {
          to.field("netns", line.device.netns.name);
          to.field("dev", line.device.name);
          to.field("direction", to_string(line.direction));
          write_account(to, line);
        });
      }
    });
  });
  return std::move(to).take();
}

}  // namespace weir::model
