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

/// Loads the programs for functions or leaves them out.
void choose_function_programs(trace& object, bool wanted);

/// A function and which of its arguments, from 1, is the packet.
struct PacketFunction {
  std::string name;
  unsigned argument = 0;
};

/// The functions of the kernel that match one of the patterns (NAME or NAME*), each once. Errc::usage for a pattern
/// that matches none, with why: unknown, or without a sk_buff among its first five arguments.
Result<std::vector<PacketFunction>> packet_functions(const btf* types, const std::vector<std::string>& patterns);

/// Attaches by kprobe.multi (Linux 5.18). Functions that cannot be attached are named in the notes.
Result<void> attach_functions(trace& object, const btf* types, const std::vector<std::string>& patterns,
                              Attached& attached);

}  // namespace weir::observe::attach
