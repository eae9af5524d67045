// What a bucket of time holds of one workload and direction; two of them add up to a longer one.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "model/footprint.h"
#include "model/sketch/distinct_sketch.h"
#include "model/sketch/quantile_sketch.h"
#include "model/sketch/top_sketch.h"

namespace weir::model {

/// What is added by adding: the class is told from these alone.
struct TrafficTotals {
  std::chrono::nanoseconds fed{};
  std::uint64_t windows = 0;
  std::uint64_t idle_windows = 0;
  double rate_sum = 0;  ///< bits a second, over windows
  double rate_square_sum = 0;
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;  ///< on the wire, like all packets here
  std::uint64_t elephant_bytes = 0;
  std::uint64_t heavy_bytes = 0;
  std::uint64_t same_host_bytes = 0;
  std::uint64_t small_packets = 0;
  std::uint64_t light_packets = 0;
  std::uint64_t tcp_packets = 0;  ///< of flows whose retransmits are known
  std::uint64_t retransmits = 0;
  std::uint64_t arrivals = 0;
  std::uint64_t flow_windows = 0;  ///< flows active in a window, summed over windows
  TrafficTotals& operator+=(const TrafficTotals& other);
  [[nodiscard]] double mean_bps() const;
  /// Standard deviation of the windows' throughput over their mean.
  [[nodiscard]] double variation() const;
};

struct TrafficSummary {
  TrafficTotals totals;
  QuantileSketch throughput_bps;
  QuantileSketch packets_per_s;
  QuantileSketch concurrent_flows;
  QuantileSketch flow_bytes;
  QuantileSketch flow_seconds;
  QuantileSketch srtt_us;
  DistinctSketch peers;
  DistinctSketch elephants;
  TopSketch top_peers{64};
  void merge(const TrafficSummary& other);
};

/// What one connection of a workload did in one window, in one direction.
struct ConnectionWindow {
  std::string_view peer;        ///< address bytes, empty where it has none
  std::string_view connection;  ///< identity of it
  FlowCount count;
  FlowCount total;
  double rate_bps = 0;
  bool elephant = false;
  bool fresh = false;      ///< it began in this window
  bool same_host = false;  ///< the peer is of this host
  std::optional<std::uint32_t> srtt_us;
  std::optional<std::uint32_t> retransmits;  ///< in this window
};

/// Adds one connection; finish_window() comes after the last of the window.
void add_connection(TrafficSummary& summary, const ConnectionWindow& connection);
/// `bytes`, `packets` and `flows`: what all connections of the window had.
void finish_window(TrafficSummary& summary, std::chrono::nanoseconds length, std::uint64_t bytes, std::uint64_t packets,
                   std::uint64_t flows);

/// What the class is told from. `bursts`: times the throughput rose above its mean.
FootprintFeatures features_of(const TrafficTotals& totals, std::uint32_t bursts, const TrafficTotals& opposite);
/// The vector; `bursts`, `period_s` and `features` by those who know the series.
Footprint vector_of(const TrafficSummary& summary, const FootprintHorizon& horizon);

}  // namespace weir::model
