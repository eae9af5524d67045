// A thread that is thrown away: the safe place to change namespaces, because the change dies with the thread.
#pragma once

#include <functional>

#include "base/result.h"

namespace weir::sys {

/// Runs `body` on a new thread and waits for it. Whatever the body does to its thread's namespaces ends with it. All
/// signals are blocked on that thread, so that no handler of the program ever runs inside another namespace. An
/// exception of `body` is thrown on in the caller.
Result<void> on_scratch_thread(const std::function<Result<void>()>& body);

}  // namespace weir::sys
