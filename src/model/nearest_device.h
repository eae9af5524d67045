// Which of the devices that a connection crosses counts its bytes. One rule for footprints and connections.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "model/flow.h"

namespace weir::model {

/// Where a device stands, seen from the workload that its flow belongs to; nearest first.
enum class FlowSide : std::uint8_t {
  inside,  ///< in the workload's own namespace: what the device sends, the workload sends
  port,    ///< outside, and leads to the workload (the host's end of a veth pair, a TAP): what it receives, that sent
  passing  ///< farther away: the packet is known by the socket that sent it
};

inline FlowDirection other(FlowDirection direction) {
  return direction == FlowDirection::tx ? FlowDirection::rx : FlowDirection::tx;
}

/// The workload's own direction. A port receives what the workload sends; far away only the sender is known.
FlowDirection direction_of(const Flow& flow, FlowSide side);

/// One device's account of a connection in one direction.
struct AccountOffer {
  FlowSide side = FlowSide::passing;
  bool counted_before = false;
  std::size_t hops = 0;  ///< from the sender, where that is known: of equally near ones it is nearest to what was sent
  std::uint64_t bytes = 0;
  std::uint32_t ifindex = 0;
};

/// To be compared: the least counts. The nearest to the workload; of equally near ones that which counted before, else
/// the sender's, else the one with the most bytes.
inline auto nearness(const AccountOffer& offer) {
  return std::tuple(offer.side, !offer.counted_before, offer.hops, ~offer.bytes, offer.ifindex);
}

/// The tuple as it was before conntrack rewrote it, in the direction of the packet.
FlowTuple before_nat(const Flow& flow);

}  // namespace weir::model
