// Attaching the trace programs, rung by rung. Private to observe/trace.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "bpf/link.h"
#include "observe/trace/session.h"
#include "trace.skel.h"

namespace weir::observe::attach {

/// What was attached, and what was not and why.
struct Attached {
  std::vector<bpf::Link> links;
  std::map<std::uint16_t, std::string> hooks;
  std::map<std::uint16_t, int> tracepoint_fds;  ///< programs whose misses are counted
  std::vector<std::string> notes;
};

/// Leaves out of loading what was not asked for and what this kernel's type information does not have.
Result<void> choose_programs(trace& object, const TraceRequest& request, Attached& attached);

/// Attaches what was loaded.
Result<void> attach_programs(trace& object, const TraceRequest& request, Attached& attached);

}  // namespace weir::observe::attach
