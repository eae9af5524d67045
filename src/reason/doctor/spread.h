// How evenly hashing would spread given flows over given queues, and how likely an observed spread is under it. Pure
// arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/queues.h"

namespace weir::reason {

/// The flows of one device as far as sampling shows them.
struct FlowMix {
  std::vector<double> weights;  ///< share of the packets of each flow, heaviest first, sum 1; empty: nothing is known
  std::size_t distinct = 0;     ///< flows seen, a lower bound
  double top_share = 0;         ///< share of the heaviest flow
  double top_share_error = 0;   ///< its standard error, from sampling
  double effective = 0;         ///< 1/sum(w^2), corrected for sampling; infinity when no flow was sampled twice
  double standard_error = 0;    ///< of sum(w^2), from sampling
};

/// The flows of several windows: weights and top share from the window with most samples, `effective` from all.
/// Packets whose flow found no room in the table count as flows of the average size, seen by a packet.
FlowMix flow_mix(const std::vector<const model::QueueWindow*>& windows);

/// E[sum(p^2)] over queues when every flow goes to a random queue: S + (1 - S)/N with S = sum(w^2).
double expected_concentration(const FlowMix& flows, std::uint32_t queues);

/// Probability that hashing these flows over `queues` gives sum(p^2) >= `concentration`: the tail of a gamma
/// distribution with the exact first three moments of sum(p^2), checked by deterministic draws where flows are few and
/// that tail is rough. 1 when nothing is known about the flows.
double chance_of_concentration(const FlowMix& flows, std::uint32_t queues, double concentration);

}  // namespace weir::reason
