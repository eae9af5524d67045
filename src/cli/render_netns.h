// Text of `weir netns`, for a person at a terminal.
#pragma once

#include <string>

#include "model/namespaces.h"

namespace weir::cli {

/// One line a namespace, what could not be told, and what to type next. `now` is what ages are measured against.
std::string render_namespaces(const model::NamespaceList& list, std::chrono::sys_time<std::chrono::nanoseconds> now);

/// One line an event.
std::string render_event(const model::NamespaceEvent& event);

}  // namespace weir::cli
