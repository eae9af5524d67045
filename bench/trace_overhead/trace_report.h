// The figures of bench/trace_overhead for a person and for a program.
#pragma once

#include <string>
#include <vector>

#include "lossless.h"
#include "rounds.h"

namespace weir::bench {

/// Everything that is published.
struct TraceReport {
  std::string kernel;
  std::string processor;
  Plan plan;
  std::vector<Series> series;
  std::vector<Lossless> lossless;
};

std::string to_text(const TraceReport& report);
/// "weir.trace_overhead/1".
std::string to_json(const TraceReport& report);

}  // namespace weir::bench
