#include "observe/trace/filter/classic.h"

#include <algorithm>
#include <limits>

namespace weir::observe::classic {

namespace {

// Every instruction there is: the list of bpf_check_classic() in net/core/filter.c. libpcap's bpf_validate() takes
// more, which its own machine then aborts at.
constexpr std::uint16_t kKnown[] = {
    0x00, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x80,                          // ld, ldh, ldb
    0x01, 0x61, 0x81, 0xb1, 0x02, 0x03,                                            // ldx, st, stx
    0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64,  // add to lsh
    0x6c, 0x74, 0x7c, 0x84, 0x94, 0x9c, 0xa4, 0xac,                                // lsh to xor
    0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x06, 0x16, 0x07, 0x87,  // jumps, ret, tax, txa
};
constexpr std::uint32_t kNotReached = std::numeric_limits<std::uint32_t>::max();

bool loads(const ClassicInstruction& insn) {
  return (insn.code & kClass) == kLd || (insn.code & kClass) == kLdx;
}

bool uses_cell(const ClassicInstruction& insn) {
  const int kind = insn.code & kClass;
  return kind == kSt || kind == kStx || (loads(insn) && (insn.code & kMode) == kMemory);
}

Result<void> check(std::span<const ClassicInstruction> program, std::size_t at) {
  const ClassicInstruction& insn = program[at];
  const auto wrong = [&](const char* what) {
    return fail(Errc::usage, "classic BPF instruction " + std::to_string(at) + " of " + std::to_string(program.size()) +
                                 " (code " + std::to_string(insn.code) + "): " + what);
  };
  if (std::ranges::find(kKnown, insn.code) == std::end(kKnown)) return wrong("there is none like it");
  if (uses_cell(insn) && insn.k >= kCells) return wrong("it uses a memory cell that is not there");
  const std::size_t left = program.size() - at - 1;
  if (left == 0 && (insn.code & kClass) != kRet) return wrong("the last must return");
  if ((insn.code & kClass) != kJmp) return {};
  const bool inside = insn.code == kJa ? insn.k < left : insn.jump_true < left && insn.jump_false < left;
  if (!inside) return wrong("it jumps out of the program");
  return {};
}

}  // namespace

int packet_bytes(const ClassicInstruction& insn) {
  const int mode = insn.code & kMode;
  if (!loads(insn) || (mode != kAbsolute && mode != kIndirect && mode != kHeaderLength)) return 0;
  constexpr int kBytes[] = {4, 2, 1};
  return kBytes[(insn.code & kSize) >> 3];
}

bool always_fails(const ClassicInstruction& insn) {
  const int bytes = packet_bytes(insn);
  if (bytes != 0) return insn.k + static_cast<std::uint64_t>(bytes) > kLongestPacket;
  const int operation = insn.code & kOperation;
  const bool divides = (insn.code & kClass) == kAlu && (operation == kDivide || operation == kModulo);
  return divides && (insn.code & kSource) != kFromX && insn.k == 0;
}

Result<Analysis> analyse(std::span<const ClassicInstruction> program) {
  if (program.empty()) return fail(Errc::usage, "a filter without instructions");
  Analysis out;
  out.captured.assign(program.size(), kNotReached);
  out.captured[0] = 0;
  // All jumps go forward: whatever leads to an instruction has been looked at before it.
  for (std::size_t at = 0; at < program.size(); ++at) {
    const ClassicInstruction& insn = program[at];
    if (auto fine = check(program, at); !fine) return pass(std::move(fine));
    if (out.captured[at] == kNotReached) continue;
    if (loads(insn) && (insn.code & kMode) == kMemory) out.reads_cell[insn.k] = true;
    if (loads(insn) && (insn.code & kMode) == kLength) out.reads_length = true;
    if ((insn.code & kClass) == kRet || always_fails(insn)) continue;
    std::uint32_t captured = out.captured[at];
    const auto bytes = static_cast<std::uint32_t>(packet_bytes(insn));
    if (bytes != 0 && (insn.code & kMode) != kIndirect) captured = std::max(captured, insn.k + bytes);
    const auto reach = [&](std::size_t to) { out.captured[to] = std::min(out.captured[to], captured); };
    if ((insn.code & kClass) != kJmp) {
      reach(at + 1);
    } else if (insn.code == kJa) {
      reach(at + 1 + std::size_t{insn.k});
    } else {
      reach(at + 1 + insn.jump_true);
      reach(at + 1 + insn.jump_false);
    }
  }
  for (const std::uint32_t captured : out.captured) out.reachable.push_back(captured != kNotReached);
  return out;
}

}  // namespace weir::observe::classic
