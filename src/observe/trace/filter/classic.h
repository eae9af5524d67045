// The classic machine (McCanne, Jacobson: The BSD Packet Filter, USENIX 1993) and what can be known of a program before
// it runs. For translate.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "observe/trace/filter/expression.h"

namespace weir::observe::classic {

// The parts of an instruction's code. linux/bpf.h has the same numbers for what both machines share.
inline constexpr std::uint16_t kClass = 0x07, kSize = 0x18, kMode = 0xe0, kOperation = 0xf0, kSource = 0x08;
inline constexpr std::uint16_t kLd = 0x00, kLdx = 0x01, kSt = 0x02, kStx = 0x03, kAlu = 0x04, kJmp = 0x05, kRet = 0x06;
inline constexpr std::uint16_t kImmediate = 0x00, kAbsolute = 0x20, kIndirect = 0x40, kMemory = 0x60, kLength = 0x80,
                               kHeaderLength = 0xa0;
inline constexpr std::uint16_t kFromX = 0x08, kReturnA = 0x16, kTxa = 0x87, kJa = 0x05;
inline constexpr std::uint16_t kDivide = 0x30, kModulo = 0x90;
inline constexpr std::size_t kCells = 16;

/// No packet has as many bytes: whoever reads beyond does not match.
inline constexpr std::uint64_t kLongestPacket = 1U << 24;

/// What every run of a program has in common.
struct Analysis {
  std::vector<bool> reachable;          ///< instructions that something leads to
  std::vector<std::uint32_t> captured;  ///< before each instruction: how many bytes of the packet surely are there
  std::array<bool, kCells> reads_cell{};
  bool reads_length = false;
};

/// Bytes that a load takes out of the packet, from k or X + k on; 0 when it is no such load.
[[nodiscard]] int packet_bytes(const ClassicInstruction& insn);

/// Whether the packet does not match when this is reached: a division by 0, a read beyond any packet.
[[nodiscard]] bool always_fails(const ClassicInstruction& insn);

/// Errc::usage for a program that no classic machine would take.
Result<Analysis> analyse(std::span<const ClassicInstruction> program);

}  // namespace weir::observe::classic
