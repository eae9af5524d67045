// Classic BPF, which libpcap writes, as eBPF, which the kernel runs at a tracepoint.
#pragma once

#include <linux/bpf.h>

#include <span>
#include <vector>

#include "base/result.h"
#include "observe/trace/filter/expression.h"

namespace weir::observe {

/// Translates a filter into the body of an eBPF function
///
///     u32 filter(const void *start, u64 captured, u32 length)
///
/// that gives what the classic program returns: 0 when the packet does not match. `start` is kernel memory of which
/// `captured` bytes may be read, `length` is how long the packet is. Reading beyond `captured`, or what cannot be read
/// (bpf_probe_read_kernel()), does not match, as in the classic machine. Divisions by zero do not match; shifts by 32
/// and more give 0, as in libpcap since 1.9.
///
/// Errc::usage for a program that no classic machine would take: unknown instructions, jumps out of it, a path without
/// a return, cells of memory that do not exist; and when it becomes too long (eBPF jumps reach 32767).
Result<std::vector<bpf_insn>> translate(std::span<const ClassicInstruction> program);

/// Bytes of stack that a translated function uses at most.
inline constexpr int kFilterStackBytes = 80;

}  // namespace weir::observe
