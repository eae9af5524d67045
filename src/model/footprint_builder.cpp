#include "model/footprint_builder.h"

#include <algorithm>
#include <ranges>
#include <string_view>

#include "model/sketch/distinct_sketch.h"

namespace weir::model {

namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kConnectionSilent = std::chrono::seconds(5);
constexpr std::uint8_t kFinOrRst = 1U | 4U;
constexpr std::size_t kMostLocalAddresses = 65536;

/// The same at every device that the connection crosses.
FlowTuple tuple_of(const Flow& flow) {
  return flow.connection ? flow.connection->sent : before_nat(flow);
}

std::string_view address_bytes(const AddressBytes& address, int family) {
  const std::size_t length = family == 4 ? 4 : family == 6 ? 16 : 0;
  return {reinterpret_cast<const char*>(address.data()), length};
}

std::string_view source_of(const FlowTuple& tuple) {
  return address_bytes(tuple.source, tuple.family());
}

std::string_view destination_of(const FlowTuple& tuple) {
  return address_bytes(tuple.destination, tuple.family());
}

}  // namespace

FootprintBuilder::FootprintBuilder(FootprintSettings settings) : settings_(std::move(settings)) {}

std::uint64_t FootprintBuilder::series_of(const WorkloadRef& workload, FlowDirection direction) {
  FootprintKey key{
      .kind = workload.kind, .name = workload.name, .id = workload.id, .image = {}, .direction = direction};
  if (const auto known = numbers_.find(key); known != numbers_.end()) {
    // Who knows names may be slower than the first packets.
    FootprintKey& named = series_.at(known->second).key;
    named.name = workload.name;
    if (named.image.empty() && settings_.image) named.image = settings_.image(workload);
    return known->second;
  }
  if (settings_.image) key.image = settings_.image(workload);
  make_room();
  const std::uint64_t number = next_number_++;
  numbers_.emplace(key, number);
  Series& fresh = series_[number];
  fresh.key = std::move(key);
  fresh.last_active = now_;
  return number;
}

void FootprintBuilder::make_room() {
  if (series_.size() < settings_.most_workloads) return;
  const auto oldest = std::ranges::min_element(series_, {}, [](const auto& entry) { return entry.second.last_active; });
  numbers_.erase(oldest->second.key);
  std::erase_if(connections_, [&](const auto& entry) { return entry.first.series == oldest->first; });
  series_.erase(oldest);
}

/// A socket of this host has an address of this host, and so has who sits behind a port.
void FootprintBuilder::learn_addresses(const FlowWindow& window) {
  for (const Flow& flow : window.flows) {
    const bool sent_here = flow.cgroup != 0 && flow.key.direction == FlowDirection::tx;
    const bool behind_port = flow.workload && flow.key.direction == FlowDirection::rx && settings_.side &&
                             settings_.side(flow) == FlowSide::port;
    if ((!sent_here && !behind_port) || flow.key.tuple.family() == 0) continue;
    if (local_addresses_.size() < kMostLocalAddresses) local_addresses_.emplace(source_of(flow.key.tuple));
  }
}

FootprintBuilder::Crossings FootprintBuilder::group(const FlowWindow& window) {
  Crossings groups;
  for (const Flow& flow : window.flows) {
    if (!flow.workload) continue;
    const FlowSide side = settings_.side ? settings_.side(flow) : FlowSide::inside;
    const FlowTuple tuple = tuple_of(flow);
    const Connection connection{series_of(*flow.workload, direction_of(flow, side)), tuple, hash_of(tuple)};
    groups[connection].push_back({{side, flow.key.netns, flow.key.ifindex}, &flow});
  }
  return groups;
}

FootprintBuilder::Place FootprintBuilder::nearest(const std::vector<Crossing>& crossings, const Memory* memory) const {
  const auto order = [&](const Crossing& crossing) {
    return nearness({.side = crossing.place.side,
                     .counted_before = memory != nullptr && memory->place == crossing.place,
                     .bytes = crossing.flow->window.bytes,
                     .ifindex = crossing.place.ifindex});
  };
  return std::ranges::min(crossings, {}, order).place;
}

void FootprintBuilder::account(const Connection& connection, const std::vector<Crossing>& crossings) {
  const auto known = connections_.find(connection);
  Memory* memory = known == connections_.end() ? nullptr : &known->second;
  const Place place = nearest(crossings, memory);
  if (memory != nullptr && place.side > memory->place.side) return;
  const auto series = series_.find(connection.series);
  if (series == series_.end()) return;
  const FootprintKey& key = series->second.key;

  ConnectionWindow window;
  const FlowTuple& tuple = connection.tuple;
  window.peer = key.direction == FlowDirection::tx ? destination_of(tuple) : source_of(tuple);
  window.same_host = local_addresses_.contains(std::string(window.peer));
  window.connection = {reinterpret_cast<const char*>(&connection.hash), sizeof connection.hash};
  Memory now;
  now.place = place;
  now.last_fed = now_;
  bool first = true;
  for (const Crossing& crossing : crossings) {
    if (crossing.place != place) continue;  // the same place on several VLANs is several flows
    const Flow& flow = *crossing.flow;
    window.count += flow.window;
    window.total += flow.total;
    window.rate_bps += flow.rate_bps;
    window.elephant = window.elephant || flow.flow_class == FlowClass::elephant;
    if (flow.tcp) window.srtt_us = flow.tcp->srtt_us;
    if (flow.tcp) now.retransmits = flow.tcp->retransmits;
    now.first_seen = first ? flow.first_seen : std::min(now.first_seen, flow.first_seen);
    now.last_seen = std::max(now.last_seen, flow.last_seen);
    now.closed = now.closed || (flow.tcp_flags & kFinOrRst) != 0;
    first = false;
  }
  now.bytes = window.total.bytes;
  window.fresh = memory == nullptr && window.total == window.count;
  if (window.srtt_us && (memory != nullptr || window.fresh)) {
    const std::uint32_t before = memory == nullptr ? 0 : memory->retransmits;
    window.retransmits = now.retransmits > before ? now.retransmits - before : 0;
  }
  Series& own = series->second;
  add_connection(own.traffic.open(now_), window);
  own.window_bytes += window.count.bytes;
  own.window_packets += window.count.wire_packets;
  ++own.window_flows;
  if (memory != nullptr)
    *memory = now;
  else if (connections_.size() < settings_.most_connections)
    connections_.emplace(connection, now);
  if (!key.image.empty()) account_image(key, window);  // may push out a series, this one included
}

void FootprintBuilder::account_image(const FootprintKey& key, const ConnectionWindow& window) {
  WorkloadRef image;
  image.kind = "image";
  image.name = image.id = key.image;
  Series& all = series_.at(series_of(image, key.direction));
  add_connection(all.traffic.open(now_), window);
  all.window_bytes += window.count.bytes;
  all.window_packets += window.count.wire_packets;
  ++all.window_flows;
}

/// Sizes and durations of connections that are over: closed, or silent for long.
void FootprintBuilder::end_connections() {
  std::erase_if(connections_, [&](const auto& entry) {
    const auto& [connection, memory] = entry;
    if (memory.last_fed == now_) return false;
    if (!memory.closed && now_ - memory.last_fed < kConnectionSilent) return false;
    const auto series = series_.find(connection.series);
    if (series == series_.end()) return true;
    TrafficSummary& summary = series->second.traffic.open(now_);
    summary.flow_bytes.add(static_cast<double>(memory.bytes));
    summary.flow_seconds.add(std::chrono::duration<double>(memory.last_seen - memory.first_seen).count());
    return true;
  });
}

void FootprintBuilder::feed(const FlowWindow& window) {
  if (window.duration <= nanoseconds::zero()) return;
  learn_addresses(window);
  for (const auto& [connection, crossings] : group(window)) account(connection, crossings);
  end_connections();
  for (Series& series : series_ | std::views::values) {
    finish_window(series.traffic.open(now_), window.duration, series.window_bytes, series.window_packets,
                  series.window_flows);
    series.latest.add(window.duration, series.window_bytes);
    if (series.window_packets != 0) series.last_active = now_ + window.duration;
    series.window_bytes = series.window_packets = series.window_flows = 0;
  }
  now_ += window.duration;
  judge();
}

const FootprintBuilder::Series* FootprintBuilder::opposite(const Series& series) const {
  FootprintKey key = series.key;
  key.direction = other(key.direction);
  const auto number = numbers_.find(key);
  if (number == numbers_.end()) return nullptr;
  const auto found = series_.find(number->second);
  return found == series_.end() ? nullptr : &found->second;
}

FootprintFeatures FootprintBuilder::features(const Series& series, std::size_t horizon) const {
  const Series* counterpart = opposite(series);
  return features_of(series.traffic.totals(horizon, now_), series.latest.bursts(),
                     counterpart == nullptr ? TrafficTotals{} : counterpart->traffic.totals(horizon, now_));
}

void FootprintBuilder::judge() {
  constexpr std::size_t kMinute = 1;
  for (Series& series : series_ | std::views::values) {
    const FootprintFeatures seen = features(series, kMinute);
    const Series* counterpart = opposite(series);
    if (counterpart == nullptr) {
      series.verdict.feed(classify(seen), now_);
      continue;
    }
    const FootprintVerdict across = classify(features(*counterpart, kMinute));
    series.verdict.feed(classify(seen, &across), now_);
  }
}

const FootprintVerdict* FootprintBuilder::verdict(const FootprintKey& key) const {
  const auto number = numbers_.find(key);
  return number == numbers_.end() ? nullptr : &series_.at(number->second).verdict.held();
}

std::vector<WorkloadFootprint> FootprintBuilder::footprints() const {
  std::vector<WorkloadFootprint> all;
  for (const auto& [key, number] : numbers_) {
    const Series& series = series_.at(number);
    WorkloadFootprint one;
    one.key = series.key;
    one.verdict = series.verdict.held();
    one.age = now_ - series.last_active;
    nanoseconds covered{};
    for (std::size_t horizon = 0; horizon < kFootprintHorizons.size(); ++horizon) {
      const TrafficSummary summary = series.traffic.summary(horizon, now_);
      if (summary.totals.fed <= covered) break;
      covered = summary.totals.fed;
      Footprint print = vector_of(summary, kFootprintHorizons[horizon]);
      print.bursts.bursts = series.latest.bursts();
      print.bursts.period_s = series.latest.period_s();
      print.features = features(series, horizon);
      one.horizons.push_back(std::move(print));
    }
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace weir::model
