// Footprints: what the traffic of a workload is like, per direction, over several horizons.
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/flow.h"
#include "model/millisecond_bursts.h"

namespace weir::model {

/// Whose footprint. `direction` is the workload's own: tx is what it sends, whichever device saw it. Two keys are the
/// same by kind, id (the name where there is none) and direction; names may change.
struct FootprintKey {
  std::string kind;  ///< as in WorkloadRef, or "image": all workloads of an image or deployment together
  std::string name;
  std::string id;
  std::string image;  ///< empty: not known
  FlowDirection direction = FlowDirection::tx;
  [[nodiscard]] const std::string& identity() const { return id.empty() ? name : id; }
  friend bool operator==(const FootprintKey& a, const FootprintKey& b) { return (a <=> b) == 0; }
  friend std::strong_ordering operator<=>(const FootprintKey& a, const FootprintKey& b) {
    if (const auto by_kind = a.kind <=> b.kind; by_kind != 0) return by_kind;
    if (const auto by_identity = a.identity() <=> b.identity(); by_identity != 0) return by_identity;
    return a.direction <=> b.direction;
  }
};

/// How far a footprint looks back.
struct FootprintHorizon {
  const char* name;
  std::chrono::seconds length;
  std::chrono::seconds bucket;  ///< it forgets so much at once
};
inline constexpr std::array<FootprintHorizon, 4> kFootprintHorizons{{
    {"10s", std::chrono::seconds(10), std::chrono::seconds(1)},
    {"1m", std::chrono::minutes(1), std::chrono::seconds(10)},
    {"1h", std::chrono::hours(1), std::chrono::minutes(5)},
    {"7d", std::chrono::hours(168), std::chrono::hours(12)},
}};

/// Within 1 % of the value of that rank; `max` is exact. All 0 where there was nothing.
struct FootprintQuantiles {
  double p50 = 0;
  double p95 = 0;
  double p99 = 0;
  double max = 0;
};

/// How unsteady it is, by the bytes of each window that was fed: nothing shorter than a window is seen.
struct FootprintBursts {
  double variation = 0;              ///< standard deviation / mean
  double idle_share = 0;             ///< windows without a packet
  double p99_over_mean = 0;          ///< of the throughput
  std::uint32_t bursts = 0;          ///< times it rose above its mean, of the last 60 s and 240 windows
  std::optional<double> period_s{};  ///< where the autocorrelation of the same windows has its first high peak
};

/// What the class is told from; see footprint_classes.h.
struct FootprintFeatures {
  std::uint64_t windows = 0;
  double packets_per_s = 0;
  double rate_bps = 0;
  double burstiness = 0;          ///< the variation; at most 0.5 unless there were two bursts
  double heavy_byte_share = 0;    ///< of flows of large packets that are elephants or carry 1 Mbit/s at least
  double light_packet_share = 0;  ///< of flows whose packets have less than 1000 bytes on average
  double mean_packet_bytes = 0;
  double opposite_ratio = 0;          ///< bytes of the workload's other direction, over those of this one
  double opposite_packets_ratio = 0;  ///< the same of packets
};

/// The traffic vector over one horizon. Rates are over the windows fed, so that a pause in watching changes none.
struct Footprint {
  std::string horizon;              ///< name in kFootprintHorizons
  std::chrono::nanoseconds span{};  ///< of it that was watched
  std::uint64_t windows = 0;        ///< samples of throughput, packet rate and concurrency
  double confidence = 0;            ///< share of the horizon that was watched, less where there are few samples
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;  ///< on the wire
  double mean_bps = 0;
  FootprintQuantiles throughput_bps;
  double packets_per_s_p95 = 0;
  double mean_packet_bytes = 0;
  double flow_arrivals_per_s = 0;
  double concurrent_flows_p95 = 0;
  std::uint64_t flows_ended = 0;  ///< what the two below are of
  FootprintQuantiles flow_bytes;
  FootprintQuantiles flow_seconds;
  double elephant_byte_share = 0;
  double elephant_flows = 0;  ///< different ones, estimated
  FootprintBursts bursts;
  double peers = 0;            ///< different addresses (tx: fan-out, rx: fan-in), estimated, standard error 3.25 %
  double same_host_share = 0;  ///< of the bytes, with peers known to be of this host
  double top5_share = 0;       ///< of the bytes, with the five heaviest peers; at most 1/64 too much for each
  std::optional<double> srtt_us_p50;
  std::optional<double> srtt_us_p99;
  std::optional<double> retransmit_share;  ///< of packets of TCP flows whose socket is of this host
  double small_message_share = 0;          ///< packets of flows with less than 256 bytes a packet
  double new_connection_share = 0;         ///< of the flows active in a window, those that began in it
  FootprintFeatures features;
};

enum class FootprintClass : std::uint8_t { idle, bulk, latency_sensitive, bursty, mixed };
inline constexpr std::size_t kFootprintClasses = 5;
/// "idle", "bulk", "latency-sensitive", "bursty", "mixed".
const char* to_string(FootprintClass footprint_class);

struct FootprintVerdict {
  FootprintClass footprint_class = FootprintClass::idle;
  double confidence = 0;  ///< [0, 1]
  std::string reason;     ///< which features decided, in words
};

/// Everything learnt of one workload and direction.
struct WorkloadFootprint {
  FootprintKey key;
  FootprintVerdict verdict;        ///< of the last minute, with hysteresis
  std::chrono::nanoseconds age{};  ///< since its last packet, in time that was watched
  /// Shortest first; those that would hold nothing more than the one before are left out.
  std::vector<Footprint> horizons;
  std::optional<MillisecondBursts> bursts{};  ///< of a short run, where there was one
};

}  // namespace weir::model
