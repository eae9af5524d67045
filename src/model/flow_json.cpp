#include "model/flow_json.h"

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

void write_workload(JsonWriter& to, const std::optional<WorkloadRef>& workload) {
  if (!workload) {
    to.key("workload");
    to.null();
    return;
  }
  to.object("workload", [&] {
    to.field("kind", workload->kind);
    to.field("name", workload->name);
    to.field("id", workload->id);
  });
}

std::int64_t whole(double value) {
  return std::llround(value);
}

void write_account(JsonWriter& to, const LedgerLine& line) {
  to.field("accounted_bytes", line.accounted_bytes);
  to.field("overflow_bytes", line.overflow_bytes);
  to.field("unattributed_bytes", line.unattributed_bytes());
  to.field("interface_bytes", line.interface_bytes);
  to.field("link_header_bytes", line.link_header_bytes);
  to.field("segment_header_bytes", line.segment_header_bytes);
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
    write_workload(to, flow.workload);
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

std::string ledger_line(const FlowWindow& window) {
  JsonWriter to;
  to.object([&] {
    to.field("schema", "weir.ledger/1");
    write_account(to, window.ledger.total());
    to.field("flows", window.flows.size());
    to.object("window", [&] {
      to.field("start", format_utc(window.start));
      to.field("duration_ns", window.duration.count());
    });
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
