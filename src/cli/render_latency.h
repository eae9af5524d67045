// Times of stretches as text for a person.
#pragma once

#include <string>
#include <vector>

#include "model/latency.h"

namespace weir::cli {

/// A line a stretch and device: quantiles, and a small histogram over a common axis. Without `verbose` the slowest
/// devices of each stretch only.
std::string render_latency(const std::vector<model::StretchTimes>& times, bool verbose);

}  // namespace weir::cli
