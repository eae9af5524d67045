// Classic BPF, which libpcap writes, as eBPF, which the kernel runs at a tracepoint.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "observe/trace/filter/expression.h"

namespace weir::observe {

/// How a filter gets at the bytes of a packet.
struct PacketAccess {
  /// BTF id of the kernel's bpf_rdonly_cast(), which makes a number an address that loads may go through (Linux 6.17):
  /// a nanosecond each. 0: the first bytes are copied to the stack, and what lies behind them is copied load by load.
  std::int32_t rdonly_cast = 0;
};

/// Translates a filter into the body of an eBPF function
///
///     u32 filter(u64 start, u32 captured, u32 length)
///
/// that gives what the classic program returns: 0 when the packet does not match. `start` is the kernel address of
/// memory of which `captured` bytes may be read, `length` is how long the packet is. Reading beyond `captured` does not
/// match, as in the classic machine; nor does memory that is not there when it is copied, and it is 0 when it is not.
/// Divisions by zero do not match; shifts by 32 and more give 0, as in libpcap since 1.9.
///
/// Errc::usage for a program that no classic machine would take: unknown instructions, jumps out of it, a path without
/// a return, cells of memory that do not exist; and when it becomes too long (eBPF jumps reach 32767).
Result<std::vector<bpf_insn>> translate(std::span<const ClassicInstruction> program, PacketAccess access = {});

/// Bytes of stack that a translated function uses at most.
inline constexpr int kFilterStackBytes = 152;

}  // namespace weir::observe
