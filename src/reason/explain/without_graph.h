// Ranking without a graph: which services and metrics moved when something was done to one of them. For folders of
// wide CSVs with an injection time, as RCAEval and its kin have them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "reason/explain/petshop.h"
#include "weir/explain.h"

namespace weir::explain {

/// A metric, or (with no metric) a whole service, and how much speaks for it.
struct RankedMetric {
  std::string entity;
  std::string metric;
  double score = 0;
};
struct GraphlessRanking {
  std::vector<RankedMetric> services;  ///< most suspect first; score 0 and more
  std::vector<RankedMetric> metrics;
  double p_value = 1;  ///< of at least such a best service in a healthy window
};

/// What happened inside a service (its CPU, memory, disk, sockets) speaks more for it than what others do to it
/// (latency, errors, load); what moved first speaks more than what moved later (PRISM's asymmetry, and onset order).
/// Errc::usage when there are no rows before or after the injection.
Result<GraphlessRanking> rank_without_graph(const Table& table, double injected_s);

/// Every folder below `folder` that has a CSV (data.csv, simple_data.csv, metrics.csv or the only one) and
/// inject_time.txt. The truth is told from folders named SERVICE_FAULT, where SERVICE is one in the table.
Result<void> explain_rcaeval(const std::string& folder, const std::function<void(const ExplainedCase&)>& take);

}  // namespace weir::explain
