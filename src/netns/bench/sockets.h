// Sockets elsewhere: what one costs.
#pragma once

#include <span>

#include "netns/bench/worker.h"
#include "netns/netns.h"

namespace weir::netns::bench {

/// Making a TCP socket, without closing it, p50.
struct SocketCost {
  double plain_ns = 0;   ///< socket(2) where the thread is
  double strict_ns = 0;  ///< open_socket() elsewhere, home again
  double sticky_ns = 0;  ///< open_socket() elsewhere, staying there
};

struct SocketPlan {
  int rounds = 11;
  int sockets = 1000;  ///< of each kind in a round
  std::uint64_t seed = 1;
};

/// On the calling thread, which should be a pinned worker.
Result<SocketCost> measure_sockets(std::span<const Netns> places, const SocketPlan& plan, const Stop& stop);

}  // namespace weir::netns::bench
