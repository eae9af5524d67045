// The changes that the queue mitigation is made of, and how each is taken back.
#pragma once

#include <memory>
#include <string>

#include "model/entity.h"
#include "steer/executor.h"
#include "steer/tc.h"

namespace weir::steer {

/// Name of the mitigation's program and of its filters, by which they are recognised in `tc filter show` and here.
inline constexpr const char* kQueueFixName = "weir_queue_fix";

/// Adds a clsact qdisc to a device that has none.
std::unique_ptr<Change> add_clsact_change(const model::DeviceRef& device);

/// Adds the program that clears the recorded queue at `preference` of a device's clsact hook.
std::unique_ptr<Change> add_queue_fix_change(const model::DeviceRef& device, TcHook hook, std::uint32_t preference);

/// What takes these changes back. A filter is removed only when its program's id and tag are those that were installed;
/// a clsact qdisc only when nothing is in it any more. A device or namespace that is gone took its filters with it.
Undoers tc_undoers();

}  // namespace weir::steer
