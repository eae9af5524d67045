// Sockets opened in namespaces by several threads at once, each asked for the namespace that it is really in.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "netns/bench/worker.h"
#include "netns/netns.h"

namespace weir::netns::bench {

struct SocketCheck {
  std::uint64_t sockets = 0;  ///< opened and asked
  std::uint64_t wrong = 0;    ///< in another namespace than was asked for
  double seconds = 0;
  int threads = 0;
};

/// Opens `count` sockets in random namespaces, strict and sticky by turns of random length, on a thread for each CPU.
/// The kernel's word (SO_NETNS_COOKIE) is what counts, the library's own audit is beside it. Errc::unsupported where
/// sockets have no cookie (Linux before 5.14).
Result<SocketCheck> check_sockets(std::span<const Netns> places, std::uint64_t count, std::uint64_t seed,
                                  const std::vector<int>& cpus, const Stop& stop);

}  // namespace weir::netns::bench
