#include "model/traffic_summary.h"

#include <algorithm>
#include <cmath>

namespace weir::model {

namespace {

constexpr std::uint64_t kSmallPacketBytes = 256;
constexpr std::uint64_t kLargePacketBytes = 1000;
constexpr double kHeavyFlowBps = 1e6;
constexpr double kUnsteadyWithoutBursts = 0.5;
constexpr double kEnoughWindows = 4;  // so many samples halve the confidence

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

double ratio(std::uint64_t part, std::uint64_t whole) {
  return ratio(static_cast<double>(part), static_cast<double>(whole));
}

double seconds(std::chrono::nanoseconds span) {
  return std::chrono::duration<double>(span).count();
}

FootprintQuantiles quantiles_of(const QuantileSketch& sketch) {
  return {.p50 = sketch.quantile(0.5), .p95 = sketch.quantile(0.95), .p99 = sketch.quantile(0.99), .max = sketch.max()};
}

}  // namespace

TrafficTotals& TrafficTotals::operator+=(const TrafficTotals& other) {
  fed += other.fed;
  windows += other.windows;
  idle_windows += other.idle_windows;
  rate_sum += other.rate_sum;
  rate_square_sum += other.rate_square_sum;
  bytes += other.bytes;
  packets += other.packets;
  elephant_bytes += other.elephant_bytes;
  heavy_bytes += other.heavy_bytes;
  same_host_bytes += other.same_host_bytes;
  small_packets += other.small_packets;
  light_packets += other.light_packets;
  tcp_packets += other.tcp_packets;
  retransmits += other.retransmits;
  arrivals += other.arrivals;
  flow_windows += other.flow_windows;
  return *this;
}

double TrafficTotals::mean_bps() const {
  return ratio(8 * static_cast<double>(bytes), seconds(fed));
}

double TrafficTotals::variation() const {
  if (windows < 2 || rate_sum <= 0) return 0;
  const auto n = static_cast<double>(windows);
  const double mean = rate_sum / n;
  return std::sqrt(std::max(0.0, rate_square_sum / n - mean * mean)) / mean;
}

void TrafficSummary::merge(const TrafficSummary& other) {
  totals += other.totals;
  throughput_bps.merge(other.throughput_bps);
  packets_per_s.merge(other.packets_per_s);
  concurrent_flows.merge(other.concurrent_flows);
  flow_bytes.merge(other.flow_bytes);
  flow_seconds.merge(other.flow_seconds);
  srtt_us.merge(other.srtt_us);
  peers.merge(other.peers);
  elephants.merge(other.elephants);
  top_peers.merge(other.top_peers);
}

void add_connection(TrafficSummary& summary, const ConnectionWindow& connection) {
  TrafficTotals& totals = summary.totals;
  const std::uint64_t packets = connection.count.wire_packets;
  const std::uint64_t mean_packet = packets == 0 ? 0 : connection.count.bytes / packets;
  totals.bytes += connection.count.bytes;
  totals.packets += packets;
  if (mean_packet < kSmallPacketBytes) totals.small_packets += packets;
  if (mean_packet < kLargePacketBytes) totals.light_packets += packets;
  if (connection.elephant) {
    totals.elephant_bytes += connection.count.bytes;
    summary.elephants.add(connection.connection);
  }
  const bool heavy = connection.elephant || connection.rate_bps >= kHeavyFlowBps;
  if (heavy && mean_packet >= kLargePacketBytes) totals.heavy_bytes += connection.count.bytes;
  if (connection.same_host) totals.same_host_bytes += connection.count.bytes;
  if (connection.fresh) ++totals.arrivals;
  if (connection.srtt_us && *connection.srtt_us != 0) summary.srtt_us.add(*connection.srtt_us);
  if (connection.retransmits) {
    totals.retransmits += *connection.retransmits;
    totals.tcp_packets += packets;
  }
  if (connection.peer.empty()) return;
  summary.peers.add(connection.peer);
  summary.top_peers.add(connection.peer, connection.count.bytes);
}

void finish_window(TrafficSummary& summary, std::chrono::nanoseconds length, std::uint64_t bytes, std::uint64_t packets,
                   std::uint64_t flows) {
  const double rate = ratio(8 * static_cast<double>(bytes), seconds(length));
  TrafficTotals& totals = summary.totals;
  totals.fed += length;
  ++totals.windows;
  if (packets == 0) ++totals.idle_windows;
  totals.rate_sum += rate;
  totals.rate_square_sum += rate * rate;
  totals.flow_windows += flows;
  summary.throughput_bps.add(rate);
  summary.packets_per_s.add(ratio(static_cast<double>(packets), seconds(length)));
  summary.concurrent_flows.add(static_cast<double>(flows));
}

FootprintFeatures features_of(const TrafficTotals& totals, std::uint32_t bursts, const TrafficTotals& opposite) {
  const double variation = totals.variation();
  return {.windows = totals.windows,
          .packets_per_s = ratio(static_cast<double>(totals.packets), seconds(totals.fed)),
          .rate_bps = totals.mean_bps(),
          // A single rise is a beginning or an end, not a habit.
          .burstiness = bursts >= 2 ? variation : std::min(variation, kUnsteadyWithoutBursts),
          .heavy_byte_share = ratio(totals.heavy_bytes, totals.bytes),
          .light_packet_share = ratio(totals.light_packets, totals.packets),
          .mean_packet_bytes = ratio(totals.bytes, totals.packets),
          .opposite_ratio = ratio(opposite.bytes, totals.bytes),
          .opposite_packets_ratio = ratio(opposite.packets, totals.packets)};
}

Footprint vector_of(const TrafficSummary& summary, const FootprintHorizon& horizon) {
  const TrafficTotals& totals = summary.totals;
  const auto windows = static_cast<double>(totals.windows);
  Footprint print;
  print.horizon = horizon.name;
  print.span = totals.fed;
  print.windows = totals.windows;
  print.confidence =
      std::min(1.0, seconds(totals.fed) / seconds(horizon.length)) * ratio(windows, windows + kEnoughWindows);
  print.bytes = totals.bytes;
  print.packets = totals.packets;
  print.mean_bps = totals.mean_bps();
  print.throughput_bps = quantiles_of(summary.throughput_bps);
  print.packets_per_s_p95 = summary.packets_per_s.quantile(0.95);
  print.mean_packet_bytes = ratio(totals.bytes, totals.packets);
  print.flow_arrivals_per_s = ratio(static_cast<double>(totals.arrivals), seconds(totals.fed));
  print.concurrent_flows_p95 = summary.concurrent_flows.quantile(0.95);
  print.flows_ended = summary.flow_bytes.count();
  print.flow_bytes = quantiles_of(summary.flow_bytes);
  print.flow_seconds = quantiles_of(summary.flow_seconds);
  print.elephant_byte_share = ratio(totals.elephant_bytes, totals.bytes);
  print.elephant_flows = summary.elephants.estimate();
  print.bursts.variation = totals.variation();
  print.bursts.idle_share = ratio(totals.idle_windows, totals.windows);
  print.bursts.p99_over_mean = ratio(print.throughput_bps.p99 * windows, totals.rate_sum);
  print.peers = summary.peers.estimate();
  print.same_host_share = ratio(totals.same_host_bytes, totals.bytes);
  std::uint64_t top5 = 0;
  for (const TopSketch::Entry& entry : summary.top_peers.top(5)) top5 += entry.weight;
  print.top5_share = std::min(1.0, ratio(top5, totals.bytes));
  if (summary.srtt_us.count() != 0) {
    print.srtt_us_p50 = summary.srtt_us.quantile(0.5);
    print.srtt_us_p99 = summary.srtt_us.quantile(0.99);
  }
  if (totals.tcp_packets != 0) print.retransmit_share = ratio(totals.retransmits, totals.tcp_packets);
  print.small_message_share = ratio(totals.small_packets, totals.packets);
  print.new_connection_share = ratio(totals.arrivals, totals.flow_windows);
  return print;
}

}  // namespace weir::model
