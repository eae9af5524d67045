// Text of `weir flows footprints`, for a person at a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model/footprint.h"

namespace weir::cli {

/// A line a workload and direction, heaviest first, at most `limit`, over the longest horizon that has been watched;
/// and what to type next.
std::string render_footprints(std::vector<model::WorkloadFootprint> footprints, std::size_t limit);

/// The same for what a short run saw at every millisecond.
std::string render_bursts(std::vector<model::WorkloadFootprint> footprints, std::size_t limit);

}  // namespace weir::cli
