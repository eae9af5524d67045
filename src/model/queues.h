// What was seen of a device's queues in a span of time. Filled by observe/queues, read by reasoners.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "model/device.h"
#include "model/queue_rule.h"

namespace weir::model {

/// Packets of one queue in one direction. `packets` counts socket buffers, as the kernel's own per-queue counters do
/// for most drivers; `wire_packets` counts what leaves or entered the wire (a GSO buffer counts once a segment).
struct QueueCount {
  std::uint32_t queue = 0;
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  std::uint64_t wire_packets = 0;
  bool operator==(const QueueCount&) const = default;
};

/// Sampled transmitted packets of one device that came in by one device (`origin.ifindex` 0: sent by the host itself).
struct OriginCount {
  DeviceRef origin;
  std::vector<std::uint64_t> per_queue;                   ///< sampled packets by chosen tx queue
  std::array<std::uint64_t, kQueueRuleCount> per_rule{};  ///< sampled packets by the rule that chose
  [[nodiscard]] std::uint64_t sampled() const;
};

/// Transmit side of one device in one window. Sampled counts are raw: multiply by sample_rate for packets.
struct TxSample {
  std::uint32_t sample_rate = 1;  ///< one in how many packets was examined
  std::uint64_t sampled = 0;
  std::array<std::uint64_t, kQueueRuleCount> chosen_by{};  ///< who chose the queue
  std::vector<OriginCount> origins;                        ///< heaviest first
  std::vector<std::uint64_t> flows;                        ///< sampled packets of each distinct flow, heaviest first
  std::uint64_t flows_overflow = 0;                        ///< sampled packets whose flow found no room in the table
  std::vector<std::uint64_t> cpus;                         ///< sampled packets by the CPU that picked the queue
};

/// One window of one device.
struct QueueWindow {
  std::chrono::nanoseconds duration{};
  std::vector<QueueCount> tx;  ///< by queue number, zero rows included up to real_tx_queues
  std::vector<QueueCount> rx;
  TxSample sample;
  [[nodiscard]] std::uint64_t tx_packets() const;
};

/// A place on a packet's path where skb->queue_mapping was looked at, in the order in which a packet passes them.
struct PathPoint {
  std::string hook;  ///< "net:netif_receive_skb", "nf:PRE_ROUTING@-300", "tcx:egress", "pick" …
  DeviceRef device;
};

/// skb->queue_mapping of packets bound for one device went from `before` to `after` between two neighbouring points.
/// Values are raw: 0 is "not recorded", k+1 is "received on queue k" (skb_record_rx_queue()).
struct MappingChange {
  DeviceRef origin;  ///< where the packets were first seen; ifindex 0: made by a local socket
  PathPoint from;    ///< last point with the old value; hook empty: before anything could look at it
  PathPoint to;      ///< first point with the new value
  std::uint32_t before = 0;
  std::uint32_t after = 0;
  std::uint64_t packets = 0;
};

/// All that is known of one device for a verdict.
struct DeviceObservation {
  DeviceRef device;
  std::vector<QueueWindow> windows;    ///< oldest first
  std::vector<MappingChange> changes;  ///< most packets first
  bool before_pick_seen = false;       ///< the mapping was read right before the queue was picked (exact attribution)
  bool vanished = false;               ///< the device went away while it was watched
};

/// What the data plane saw and what it lost.
struct Accounting {
  std::uint64_t packets_seen = 0;
  std::uint64_t packets_lost = 0;  ///< seen, but counted in no queue: the table was full
  std::uint64_t events_lost = 0;
};

/// A span of time on a host: what doctor's reasoners take.
struct HostObservation {
  std::chrono::sys_time<std::chrono::nanoseconds> start{};
  std::chrono::nanoseconds duration{};
  HostConfig config;
  std::vector<DeviceObservation> devices;
  Accounting accounting;
};

/// Effective number of queues, 1/sum(p_i^2) (inverse Herfindahl–Hirschman index); 0 for no packets.
double effective_queues(const std::vector<QueueCount>& counts);

/// The windows of a device added up.
QueueWindow total(const std::vector<QueueWindow>& windows);

}  // namespace weir::model
