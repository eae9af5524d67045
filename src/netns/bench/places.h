// The namespaces that a measurement happens in: without names, so that nothing stays whatever becomes of the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "netns/bench/worker.h"
#include "netns/netns.h"

namespace weir::netns::bench {

/// What the namespaces cost, all together. Growths of counters that the whole machine shares: other programs that start
/// or end meanwhile are in them, and namespaces that the kernel still takes apart.
struct Footprint {
  std::size_t namespaces = 0;
  double create_ns = 0;              ///< to make one
  std::int64_t slab_bytes = 0;       ///< Slab of /proc/meminfo
  std::int64_t percpu_bytes = 0;     ///< Percpu
  std::int64_t available_bytes = 0;  ///< by how much MemAvailable shrank
  std::int64_t resident_bytes = 0;   ///< of this process
  std::int64_t descriptors = 0;      ///< of this process
};

struct Places {
  std::vector<Netns> all;
  Footprint footprint;
};

/// Makes sure that this process may have that many descriptors, by raising its own limit. Errc::failed when it may not:
/// the message has the limit, the need and how to raise it.
Result<void> allow_descriptors(std::size_t needed);

/// Makes `count` namespaces with loopback up; fewer when `stop` says so.
Result<Places> make_places(std::size_t count, const Stop& stop);

}  // namespace weir::netns::bench
