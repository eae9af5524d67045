// What the agent's side of the flows costs and how quick it is: memory with many live flows, and how long a flow that
// becomes an elephant goes untold.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "network.h"

namespace weir::bench {

struct AgentMemory {
  std::uint64_t live_flows = 0;
  std::uint64_t resident_bytes = 0;   ///< largest so far (VmHWM), with the pages of the table that it maps
  std::uint64_t watching_bytes = 0;   ///< of its own (RssAnon), while it watches
  std::uint64_t anonymous_bytes = 0;  ///< the same when it is largest: while it writes its list
  std::uint64_t map_bytes = 0;        ///< as the kernel accounts them
};

/// `weir flows list` with as many live flows as it keeps: `network` carries them past four hooks each.
Result<AgentMemory> measure_memory(const ForwardNetwork& network, const std::string& weir, std::uint32_t flows);

/// From the packet that makes a flow an elephant being handed to the socket until the watch tells of it, in
/// microseconds, one value a promotion.
Result<std::vector<double>> measure_promotions(int wanted);

}  // namespace weir::bench
