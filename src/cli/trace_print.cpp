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
#include "observe/trace/filter/matcher.h"
#include "observe/trace/where/event_fields.h"

namespace weir::cli {

namespace {

constexpr std::size_t kRecentJourneys = 65536;

using Condition = std::function<bool(const model::Journey&)>;

Result<Condition> slower_condition(const std::string& text) {
  const auto slower = parse_duration(text);
  if (!slower) return std::unexpected(Error(slower.error()).with_context("--slower"));
  return [least = static_cast<std::uint64_t>(slower->count())](const model::Journey& journey) {
    return journey.events.back().time_ns - journey.events.front().time_ns >= least;
  };
}

/// Whether one of its events fulfils it.
Result<Condition> where_condition(const std::string& text) {
  auto where = observe::Where::parse(text, observe::event_fields());
  if (!where) return std::unexpected(Error(where.error()).with_context("--where"));
  return [where = *std::move(where)](const model::Journey& journey) {
    model::JourneyState state;
    return std::ranges::any_of(journey.events, [&](const model::TraceEvent& event) {
      state.advance(event);
      return observe::matches(where, event, state.packet(), state.ct() ? &*state.ct() : nullptr);
    });
  };
}

Result<Condition> filter_condition(const std::string& text) {
  auto matcher = observe::PacketMatcher::compile(text);
  if (!matcher) return pass(std::move(matcher));
  return [matcher = *std::move(matcher)](const model::Journey& journey) {
    return std::ranges::any_of(journey.events, [&](const model::TraceEvent& event) {
      return event.packet && matcher.matches(*event.packet, event.skb);
    });
  };
}

}  // namespace

Result<std::function<bool(const model::Journey&)>> journey_condition(const TraceView& view) {
  std::vector<Condition> conditions;
  const auto add = [&](const std::string& text, Result<Condition> (*make)(const std::string&)) -> Result<void> {
    if (text.empty()) return {};
    auto made = make(text);
    if (!made) return pass(std::move(made));
    conditions.push_back(*std::move(made));
    return {};
  };
  if (auto added = add(view.slower, slower_condition); !added) return pass(std::move(added));
  if (auto added = add(view.where, where_condition); !added) return pass(std::move(added));
  if (auto added = add(view.filter, filter_condition); !added) return pass(std::move(added));
  return [conditions = std::move(conditions)](const model::Journey& journey) {
    return !journey.events.empty() &&
           std::ranges::all_of(conditions, [&](const Condition& one) { return one(journey); });
  };
}

Result<JourneyPrinter> JourneyPrinter::create(const TraceView& view, std::chrono::nanoseconds wall_offset, bool color) {
  auto wanted = journey_condition(view);
  if (!wanted) return pass(std::move(wanted));
  JourneyPrinter printer;
  printer.view_ = view;
  printer.wall_offset_ = wall_offset;
  printer.color_ = color;
  printer.wanted_ = *std::move(wanted);
  return printer;
}

void JourneyPrinter::take(const model::Journey& journey) {
  if (journey.events.empty()) return;
  if (!wanted_(journey)) {
    for (const model::TraceEvent& event : journey.events) {
      if (!event.nft) ++unwanted_[event.hook.name];  // rules are no firings of a hook
    }
    return;
  }
  if (journey.id != 0 && recent_.insert(journey.id).second) {
    ++shown_;
    complete_ += journey.complete() ? 1 : 0;
    recent_order_.push_back(journey.id);
    if (recent_order_.size() > kRecentJourneys) {
      recent_.erase(recent_order_.front());
      recent_order_.pop_front();
    }
  }
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
    std::cout << model::event_line(event, state.packet(), changes, wall_offset_) << '\n';
  }
}

void move_to_filtered(model::TraceSummary& summary, const std::map<std::string, std::uint64_t>& unwanted) {
  for (const auto& [name, events] : unwanted) {
    model::HookAccount& account = summary.hooks[name];
    account.emitted -= std::min(account.emitted, events);
    account.filtered += events;
  }
}

model::TraceSummary JourneyPrinter::summary(model::TraceSummary from_kernel) const {
  move_to_filtered(from_kernel, unwanted_);
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
