// Journeys as a packet capture that Wireshark opens: one frame an event.
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <span>

#include "base/result.h"
#include "model/trace.h"

namespace weir::exporter {

/// What was written.
struct PcapngCount {
  std::uint64_t packets = 0;     ///< one for each event
  std::uint64_t interfaces = 0;  ///< devices, twice where they were seen with and without link headers
};

/// Writes pcapng (draft-ietf-opsawg-pcapng), ordered by time, nanoseconds.
///
/// Each device is an interface "netns/dev": of link type Ethernet for what was seen with its link header, raw IP for
/// what was seen from the network layer on, Linux cooked for such packets that are not IP. An event without bytes of
/// its own shows the packet as the journey last saw it. Comments say what a capture has no field for, as words that can
/// be searched: "hook=net:net_dev_queue journey=… queue_mapping=1 …", and in a second comment what the event changed.
///
/// `wall_clock_offset` is what must be added to CLOCK_MONOTONIC to have UTC. Errc::failed when `out` takes no more.
Result<PcapngCount> write_pcapng(std::ostream& out, std::span<const model::Journey> journeys,
                                 std::chrono::nanoseconds wall_clock_offset);

}  // namespace weir::exporter
