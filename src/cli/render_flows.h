// Text of `weir flows`, for a person at a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model/connection.h"
#include "model/finding.h"
#include "model/flow.h"

namespace weir::cli {

/// The heaviest flows of a window, at most `limit`, and what is left out.
std::string render_flows(const model::FlowWindow& window, std::size_t limit);

/// The heaviest connections, at most `limit`, and what is left out.
std::string render_connections(const std::vector<model::Connection>& connections, std::size_t limit);

/// From where connections are known; and what could not be read.
std::string render_conntrack(const model::ConntrackAccount& account);

/// The ledger: a line of sums, and the devices that do not close within `tolerance` (a share of their bytes); all of
/// them when `verbose`.
std::string render_ledger(const model::FlowWindow& window, bool verbose, double tolerance = 0.001);

/// A line a finding: what is missing, and what to do.
std::string render_gaps(const std::vector<model::Finding>& findings);

/// One promotion, demotion or end.
std::string render_flow_event(const model::FlowEvent& event, const model::DeviceRef& device,
                              std::chrono::nanoseconds wall_clock_offset);

}  // namespace weir::cli
