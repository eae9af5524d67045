// Packet journeys as text for a person.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "model/trace.h"

namespace weir::cli {

struct JourneyStyle {
  bool verbose = false;  ///< every change, not only those that explain something
  bool color = false;
  std::chrono::nanoseconds wall_offset{};  ///< what must be added to CLOCK_MONOTONIC to have UTC
};

/// "net:net_dev_queue" as "net_dev_queue": the subsystem says nothing that the name does not.
std::string_view short_hook(std::string_view name);

/// The packet, how it ended, and a line an event with what it changed.
std::string render_journey(const model::Journey& journey, const JourneyStyle& style);

/// "seen 100 = emitted 90 + filtered 10 + sampled out 0 + lost 0; …", with a line for each hook that lost something.
std::string render_summary(const model::TraceSummary& summary, bool verbose);

}  // namespace weir::cli
