// Connections: all flows of one conversation, on every device that it crosses, in both directions, before and after
// NAT.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/conntrack.h"
#include "model/flow.h"
#include "model/nearest_device.h"
#include "model/topology.h"

namespace weir::model {

/// One direction of a connection, each byte once: what the flow says that counts.
struct ConnectionWay {
  FlowCount window;
  FlowCount total;
  double rate_bps = 0;
  std::optional<FlowTcp> tcp;
  std::optional<DeviceRef> counted_at;  ///< nullopt: nothing was seen in this direction
  FlowDirection counted_direction = FlowDirection::tx;
};

struct Connection {
  std::uint64_t id = 0;  ///< equal in all windows, and for other watches of this boot that see the same beginning
  FlowTuple initiator;   ///< from the initiator to the responder, as the initiator sends it
  FlowTuple responder;   ///< the same packets as the responder gets them; differs by NAT
  ConnectionWay to_responder;
  ConnectionWay to_initiator;
  std::vector<DeviceRef> path;  ///< from the initiator to the responder, as far as flows were seen
  /// The entry of the first namespace on the path that tracks it; nullptr: none does, or it is not known.
  std::shared_ptr<const ConntrackEntry> conntrack;
  std::chrono::nanoseconds first_seen{};  ///< CLOCK_MONOTONIC
  std::chrono::nanoseconds last_seen{};
  std::uint8_t tcp_flags = 0;
  FlowClass flow_class = FlowClass::medium;
  std::optional<WorkloadRef> initiator_workload;
  std::optional<WorkloadRef> responder_workload;

  [[nodiscard]] std::uint64_t bytes() const { return to_responder.window.bytes + to_initiator.window.bytes; }
};

/// What flows are joined by.
struct JoinInput {
  std::span<Flow> flows;  ///< of one window; `connection` and `conntrack` of each are set
  const Topology& topology;
  /// Entries of the namespaces that track connections; others may be among them.
  std::span<const std::shared_ptr<const ConntrackEntry>> conntrack;
  /// Where the device of a flow stands; everything is inside without it.
  std::function<FlowSide(const Flow&)> side;
};

/// Joins the flows of one window after the other.
///
/// Flows are one connection when their packets are the same packets: with equal tuples at both ends of a veth pair, on
/// a VLAN device and below it, on a bond and its ports; between the ports of one bridge, and between the devices of one
/// namespace or VRF, there also where conntrack says that one tuple is rewritten to the other. On a bridge or in a
/// namespace that is believed only while the packets come in from one side alone: the same tuple from two sides are two
/// tenants' (or cannot be told from that), and stay apart. Multicast and link-local addresses are not routed, and what
/// is not IP is joined at the ends of a pair only.
class ConnectionJoiner {
 public:
  /// Connections in the order of sort_heaviest_first().
  std::vector<Connection> join(const JoinInput& input);

 private:
  struct Memory {
    std::uint64_t id = 0;
    std::uint64_t since = 0;  ///< round
    std::uint64_t round = 0;  ///< that saw it last; 0: none before this one
    bool counted = false;
  };
  friend class ConnectionMaker;
  /// By the hash of a flow's place and tuple.
  std::unordered_map<std::uint64_t, Memory> memory_;
  std::uint64_t round_ = 0;
};

/// Most bytes first; equal ones by id.
void sort_heaviest_first(std::vector<Connection>& connections);

}  // namespace weir::model
