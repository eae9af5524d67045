// Any function of the kernel with a sk_buff among its arguments, found through its type information. Private to
// observe/trace.
#pragma once

#include <bpf/btf.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "observe/trace/attach.h"
#include "trace.skel.h"

namespace weir::observe::attach {

/// Arguments that come in registers, where programs look for the packet.
inline constexpr unsigned kMostArguments = 5;

/// The functions of the kernel that match one of the patterns (NAME or NAME*), each once. Errc::usage for a pattern
/// that matches none, with why: unknown, or without a sk_buff among its first five arguments.
Result<std::vector<PacketFunction>> packet_functions(const btf* types, const std::vector<std::string>& patterns);

/// Plans for the functions that match, by the rung that is asked for or the best of this kernel, and has the programs
/// loaded that it takes. Functions that cannot be attached to are named in the notes, as is a rung that is not the
/// best.
Result<void> choose_function_programs(trace& object, const btf* types, const TraceRequest& request, Attached& attached);

/// Attaches what was planned.
Result<void> attach_functions(trace& object, Attached& attached);

}  // namespace weir::observe::attach
