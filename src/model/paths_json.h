// Paths of packets as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/histogram.h"
#include "model/paths.h"

namespace weir::model {

/// "mean_ns", "p50_ns", "p90_ns", "p99_ns" and "max_ns" of a histogram.
nlohmann::ordered_json duration_json(const DurationHistogram& time);

/// "weir.trace_paths/1".
nlohmann::ordered_json to_json(const PathTree& tree, const TraceSummary& summary);

}  // namespace weir::model
