// The figures of bench/observe_overhead for a person and for a program.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "rounds.h"

namespace weir::bench {

/// Everything that is published.
struct Report {
  std::string kernel;
  std::string processor;
  Plan plan;
  std::vector<Series> series;
  std::uint64_t map_bytes = 0;                                       ///< as the kernel accounts them on this host
  std::vector<std::pair<std::size_t, std::uint64_t>> planned_bytes;  ///< by number of CPUs
};

std::string to_text(const Report& report);
/// "weir.observe_overhead/1".
std::string to_json(const Report& report);

}  // namespace weir::bench
