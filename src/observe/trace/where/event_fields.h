// What `--where` can say about packet events, and how it is read from them.
#pragma once

#include <span>

#include "model/packet.h"
#include "model/trace.h"
#include "observe/trace/where/where.h"

namespace weir::observe {

/// The fields of events, in the order that event_value() knows.
std::span<const Field> event_fields();

/// The value of field `index` at an event. Events carry headers and connection only where they changed: `packet` and
/// `ct` are those that hold (model::JourneyState remembers them), nullptr where they are unknown. Headers are the
/// outermost.
Value event_value(std::size_t index, const model::TraceEvent& event, const model::Packet* packet,
                  const model::Conntrack* ct);

/// Whether an event fulfils a condition on event_fields().
bool matches(const Where& where, const model::TraceEvent& event, const model::Packet* packet,
             const model::Conntrack* ct);

}  // namespace weir::observe
