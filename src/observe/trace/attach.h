// Attaching the trace programs, rung by rung. Private to observe/trace.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "bpf/link.h"
#include "observe/trace/function_rung.h"
#include "observe/trace/session.h"
#include "sys/fd.h"
#include "trace.skel.h"

namespace weir::observe::attach {

/// A function of the kernel and which of its arguments, from 1, is the packet.
struct PacketFunction {
  std::string name;
  unsigned argument = 0;
  std::uint32_t type = 0;  ///< its id in the kernel's type information
};

/// Functions to attach to, and how.
struct FunctionPlan {
  FunctionRung rung = FunctionRung::none;
  std::vector<PacketFunction> functions;  ///< the hook of the first is WEIR_HOOK_FUNCTIONS
};

/// What was attached, and what was not and why.
struct Attached {
  std::vector<bpf::Link> links;
  std::vector<sys::Fd> programs;  ///< loaded beside those of the object
  FunctionPlan functions;
  std::map<std::uint16_t, std::string> hooks;
  std::map<std::uint16_t, int> tracepoint_fds;  ///< programs whose misses are counted
  std::vector<std::string> notes;
};

/// Leaves out of loading what was not asked for and what this kernel's type information does not have.
Result<void> choose_programs(trace& object, const TraceRequest& request, Attached& attached);

/// Attaches what was loaded.
Result<void> attach_programs(trace& object, const TraceRequest& request, Attached& attached);

}  // namespace weir::observe::attach
