#include "observe/flows/flow_window.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir::observe {

namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kSilent = std::chrono::seconds(5);
constexpr std::uint64_t kEthernetHeader = 14;
constexpr std::uint32_t kSrttScale = 8;  // the kernel keeps eight times the value

nanoseconds from_ns(std::uint64_t ns) {
  return nanoseconds(static_cast<nanoseconds::rep>(ns));
}

model::FlowCount total_of(const weir_flow_count& count) {
  return {.bytes = count.bytes, .packets = count.packets, .wire_packets = count.packets + count.extra_packets};
}

model::FlowCount difference(const model::FlowCount& now, const model::FlowCount& before) {
  return {.bytes = now.bytes - before.bytes,
          .packets = now.packets - before.packets,
          .wire_packets = now.wire_packets - before.wire_packets};
}

double rate(const FlowRecord& record, std::uint64_t window_bytes, const WindowInput& input) {
  const nanoseconds life = input.now - from_ns(record.now.first_ns);
  return model::flow_rate_bps(window_bytes, std::min(life, input.duration));
}

model::FlowClass class_of(const FlowRecord& record, double rate_bps, const WindowInput& input) {
  const model::ElephantPolicy& policy = input.request.elephants;
  if (record.now.elephant != 0) return model::FlowClass::elephant;
  if (record.sketched && record.now.bytes >= policy.bytes && rate_bps >= policy.rate_bps) {
    return model::FlowClass::elephant;
  }
  const bool over =
      record.gone || tcp_is_closing(record.now.tcp_flags) || input.now - from_ns(record.now.last_ns) > kSilent;
  return over && record.now.bytes < model::kMouseBytes ? model::FlowClass::mouse : model::FlowClass::medium;
}

model::Flow flow_of(const weir_flow_id& id, const FlowRecord& record, const WindowInput& input) {
  model::Flow flow;
  flow.key = flow_key(id);
  flow.device = input.devices.name(id.netns, id.ifindex);
  flow.total = total_of(record.now);
  flow.window = difference(flow.total, total_of(record.at_start));
  flow.first_seen = from_ns(record.now.first_ns);
  flow.last_seen = from_ns(record.now.last_ns);
  flow.rate_bps = rate(record, flow.window.bytes, input);
  flow.tcp_flags = record.now.tcp_flags;
  if (record.now.has_tcp != 0) {
    flow.tcp = {.srtt_us = record.now.srtt_us / kSrttScale, .retransmits = record.now.retransmits};
  }
  if (record.nat) flow.nat = flow_nat(*record.nat);
  flow.flow_class = class_of(record, flow.rate_bps, input);
  flow.cgroup = record.now.cgroup;
  if (input.request.workload) flow.workload = input.request.workload(flow.cgroup, flow.device);
  return flow;
}

struct Accounted {
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
  std::uint64_t overflow_bytes = 0;
  std::uint64_t overflow_packets = 0;
  std::uint64_t segment_headers = 0;
};

std::map<FlowPlace, Accounted> sum_by_place(const FlowTable& table) {
  std::map<FlowPlace, Accounted> sums;
  for (const auto& [id, record] : table.flows()) {
    if (record.sketched) continue;  // is in the overflow
    Accounted& sum = sums[{id.netns, id.ifindex, flow_direction(id.direction)}];
    sum.bytes += record.now.bytes - record.at_start.bytes;
    sum.packets += record.now.packets - record.at_start.packets;
    sum.segment_headers += record.now.extra_bytes - record.at_start.extra_bytes;
  }
  for (const auto& [place, forgotten] : table.forgotten()) {
    Accounted& sum = sums[place];
    sum.bytes += forgotten.bytes;
    sum.packets += forgotten.packets;
    sum.segment_headers += forgotten.extra_bytes;
  }
  for (const auto& [place, count] : table.overflows()) {
    sums[place].overflow_bytes += count.bytes;
    sums[place].overflow_packets += count.packets;
  }
  return sums;
}

model::Ledger ledger_of(const WindowInput& input) {
  std::map<FlowPlace, Accounted> sums = sum_by_place(input.table);
  // An interface whose packets nobody accounted stands in the ledger as well.
  for (const auto& [where, counters] : input.after) {
    sums[{where.first, where.second, model::FlowDirection::tx}];
    sums[{where.first, where.second, model::FlowDirection::rx}];
  }
  model::Ledger ledger;
  for (const auto& [place, sum] : sums) {
    const auto after = input.after.find({place.netns, place.ifindex});
    if (after == input.after.end()) continue;  // the device is gone, and its counters with it
    const auto before = input.before.find({place.netns, place.ifindex});
    const InterfaceCount zero{};
    const InterfaceCount& base = before == input.before.end() ? zero : before->second;
    const bool tx = place.direction == model::FlowDirection::tx;
    model::LedgerLine line;
    line.device = input.devices.name(place.netns, place.ifindex);
    line.direction = place.direction;
    line.accounted_bytes = sum.bytes;
    line.overflow_bytes = sum.overflow_bytes;
    line.interface_bytes = tx ? after->second.tx_bytes - base.tx_bytes : after->second.rx_bytes - base.rx_bytes;
    line.segment_header_bytes = sum.segment_headers;
    line.moment_bytes = tx ? after->second.tx_unsure + base.tx_unsure : after->second.rx_unsure + base.rx_unsure;
    const std::uint64_t seen = sum.bytes + sum.overflow_bytes;
    if (!tx && receives_from_below(after->second.kind) && line.interface_bytes > seen) {
      line.below_bytes = line.interface_bytes - seen;
    }
    if (!tx && counts_without_link_header(after->second.kind)) {
      line.link_header_bytes = kEthernetHeader * (sum.packets + sum.overflow_packets);
    }
    if (line.accounted_bytes + line.overflow_bytes + line.interface_bytes != 0) ledger.lines.push_back(std::move(line));
  }
  return ledger;
}

}  // namespace

DeviceIndex::DeviceIndex(const model::HostConfig& config) {
  for (const model::DeviceConfig& device : config.devices) {
    devices_[{device.ref.netns.id, device.ref.ifindex.value}] = device.ref;
    netns_[device.ref.netns.id] = device.ref.netns.name;
  }
}

model::DeviceRef DeviceIndex::name(std::uint64_t netns, std::uint32_t ifindex) const {
  if (const auto found = devices_.find({netns, ifindex}); found != devices_.end()) return found->second;
  const auto known = netns_.find(netns);
  return {.netns = {netns, known == netns_.end() ? fmt::format("id:{}", netns) : known->second},
          .ifindex = IfIndex{ifindex},
          .name = fmt::format("if{}", ifindex)};
}

std::vector<model::NetnsRef> DeviceIndex::namespaces() const {
  std::vector<model::NetnsRef> all;
  all.reserve(netns_.size());
  for (const auto& [id, name] : netns_) all.push_back({id, name});
  return all;
}

model::FlowWindow build_window(const WindowInput& input) {
  model::FlowWindow window;
  window.duration = input.duration;
  window.table_flows = input.request.flows;
  for (const auto& [id, record] : input.table.flows()) {
    if (record.now.packets == record.at_start.packets) continue;
    window.flows.push_back(flow_of(id, record, input));
  }
  sort_heaviest_first(window.flows);
  window.ledger = ledger_of(input);
  return window;
}

}  // namespace weir::observe
