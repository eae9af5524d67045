// The peers: others that count packets by flow, started as a person would.
#pragma once

#include <string>
#include <vector>

#include "tools.h"

namespace weir::bench {

/// softflowd and pmacctd on `device`, and bpftrace with a map by flow at the data plane's two hooks. What each leaves
/// as its number is the packets that it counted; those of bpftrace as often as they met net:netif_receive_skb.
std::vector<Tool> flow_peers(const std::string& device);

}  // namespace weir::bench
