// Journeys as a trace that https://ui.perfetto.dev and chrome://tracing open.
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <span>

#include "base/result.h"
#include "model/trace.h"

namespace weir::exporter {

struct PerfettoCount {
  std::uint64_t slices = 0;    ///< one for each event
  std::uint64_t journeys = 0;  ///< tracks of whole journeys
};

/// Writes Chrome's JSON trace format. A namespace is a process, a device in it a thread: a slice is the stay of a
/// packet from one hook to the next, at the device where it was last seen; where stays overlap a device has several
/// lanes. Arrows follow each journey from slice to slice. One more process, "journeys", has each journey from its first
/// to its last event as one track, named after the packet. Times are CLOCK_MONOTONIC plus `wall_clock_offset`.
/// Errc::failed when `out` takes no more.
Result<PerfettoCount> write_perfetto(std::ostream& out, std::span<const model::Journey> journeys,
                                     std::chrono::nanoseconds wall_clock_offset);

}  // namespace weir::exporter
