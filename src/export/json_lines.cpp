#include "export/json_lines.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "model/json.h"
#include "model/trace_json.h"

namespace weir::exporter {

Result<std::uint64_t> write_json_lines(std::ostream& out, std::span<const model::Journey> journeys,
                                       std::chrono::nanoseconds wall_clock_offset, const model::TraceSummary* summary) {
  constexpr int kOneLine = -1;
  std::uint64_t count = 0;
  for (const model::Journey& journey : journeys) {
    model::JourneyState state;
    for (const model::TraceEvent& event : journey.events) {
      const model::FieldChanges changes = state.advance(event);
      out << model::event_line(event, state.packet(), changes, wall_clock_offset) << '\n';
      if (!out) return fail(Errc::failed, fmt::format("writing JSON failed after {} events", count));
      ++count;
    }
  }
  if (summary != nullptr) out << model::to_text(model::to_json(*summary), kOneLine) << '\n';
  out.flush();
  if (!out) return fail(Errc::failed, fmt::format("writing JSON failed after {} events", count));
  return count;
}

}  // namespace weir::exporter
