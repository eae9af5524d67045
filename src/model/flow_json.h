// weir.flow/1, weir.flow_event/1, weir.connection/1 and weir.ledger/1.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/connection.h"
#include "model/conntrack.h"
#include "model/flow.h"

namespace weir::model {

/// One line of weir.flow/1. `wall_clock_offset`: what must be added to CLOCK_MONOTONIC to have UTC.
std::string flow_line(const Flow& flow, std::chrono::nanoseconds wall_clock_offset);
/// One line of weir.flow_event/1.
std::string flow_event_line(const FlowEvent& event, const DeviceRef& device,
                            std::chrono::nanoseconds wall_clock_offset);
/// One line of weir.connection/1.
std::string connection_line(const Connection& connection, std::chrono::nanoseconds wall_clock_offset);
/// One line of weir.ledger/1: the sums, and `devices` with a row a device and direction; from where connections were
/// known, if anybody looked.
std::string ledger_line(const FlowWindow& window, const ConntrackAccount* conntrack = nullptr);

}  // namespace weir::model
