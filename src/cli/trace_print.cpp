// Journeys on their way to the reader: which are wanted, in which form, and the books of what was left out.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/render_latency.h"
#include "cli/render_trace.h"
#include "cli/trace.h"
#include "model/json.h"
#include "model/latency.h"
#include "model/trace_json.h"

namespace weir::cli {

Result<JourneyPrinter> JourneyPrinter::create(const TraceView& view, std::chrono::nanoseconds wall_offset, bool color) {
  JourneyPrinter printer;
  printer.view_ = view;
  printer.wall_offset_ = wall_offset;
  printer.color_ = color;
  std::uint64_t slower_ns = 0;
  if (!view.slower.empty()) {
    const auto slower = parse_duration(view.slower);
    if (!slower) return std::unexpected(Error(slower.error()).with_context("--slower"));
    slower_ns = static_cast<std::uint64_t>(slower->count());
  }
  printer.wanted_ = [slower_ns](const model::Journey& journey) {
    return journey.events.back().time_ns - journey.events.front().time_ns >= slower_ns;
  };
  return printer;
}

void JourneyPrinter::take(const model::Journey& journey) {
  if (journey.events.empty()) return;
  if (!wanted_(journey)) {
    for (const model::TraceEvent& event : journey.events) ++unwanted_[event.hook.name];
    return;
  }
  ++shown_;
  complete_ += journey.complete() ? 1 : 0;
  if (view_.latency) {
    latency_.add(journey);
    return;
  }
  if (!view_.json) {
    std::cout << render_journey(journey, {view_.verbose, color_, wall_offset_}) << '\n';
    return;
  }
  model::JourneyState state;
  for (const model::TraceEvent& event : journey.events) {
    const model::FieldChanges changes = state.advance(event);
    std::cout << model::to_text(model::to_json(event, state.packet(), changes, wall_offset_), -1) << '\n';
  }
}

model::TraceSummary JourneyPrinter::summary(model::TraceSummary from_kernel) const {
  for (const auto& [name, events] : unwanted_) {
    model::HookAccount& account = from_kernel.hooks[name];
    account.emitted -= std::min(account.emitted, events);
    account.filtered += events;
  }
  from_kernel.journeys = shown_;
  from_kernel.journeys_complete = complete_;
  return from_kernel;
}

void JourneyPrinter::finish(const model::TraceSummary& summary) const {
  if (view_.latency && view_.json) {
    std::cout << model::to_text(model::latency_json(latency_.times(), summary)) << '\n';
    return;
  }
  if (view_.latency) std::cout << render_latency(latency_.times(), view_.verbose) << '\n';
  if (view_.json)
    std::cout << model::to_text(model::to_json(summary), -1) << '\n';
  else
    std::cout << render_summary(summary, view_.verbose);
  std::cout.flush();
}

}  // namespace weir::cli
