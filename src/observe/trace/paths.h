// The kernel's counts of places as a tree of ways. Pure.
#pragma once

#include <span>

#include "model/paths.h"
#include "observe/trace/decode.h"
#include "observe/trace/session.h"

namespace weir::observe {

/// Puts the places together. A place whose predecessor was not counted is left out with all that follows it, and
/// reported as cut; `lost_steps` is what the session could not count.
model::PathTree build_paths(std::span<const PathPlace> places, std::uint64_t lost_steps, const TraceNames& names);

}  // namespace weir::observe
