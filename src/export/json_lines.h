// Journeys as JSON, one event a line.
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <span>

#include "base/result.h"
#include "model/trace.h"

namespace weir::exporter {

/// Writes "weir.event/1" lines: journeys in the order given, their events by sequence, each with the headers as they
/// were and with what it changed. Then `summary`, if there is one, as "weir.trace_summary/1". Gives the number of
/// events; Errc::failed when `out` takes no more.
Result<std::uint64_t> write_json_lines(std::ostream& out, std::span<const model::Journey> journeys,
                                       std::chrono::nanoseconds wall_clock_offset,
                                       const model::TraceSummary* summary = nullptr);

}  // namespace weir::exporter
