// Threads of a measurement: pinned, at home when they begin, and thrown away.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"

namespace weir::netns::bench {

/// Asked between the parts of a measurement, from any thread: true ends it early, with what there is.
using Stop = std::function<bool()>;

/// The CPUs that this process may use, ascending.
Result<std::vector<int>> allowed_cpus();

/// Keeps the calling thread on one CPU.
Result<void> pin(int cpu);

/// Runs `body` on a worker thread of the library, pinned, and waits for it: its visits are sticky and end with it.
Result<void> on_worker(int cpu, const std::function<Result<void>()>& body);

}  // namespace weir::netns::bench
