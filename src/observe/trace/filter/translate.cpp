#include "observe/trace/filter/translate.h"

#include <algorithm>
#include <array>
#include <limits>

namespace weir::observe {

namespace {

// The codes of the classic machine (pcap/bpf.h). linux/bpf.h has the same for what both machines share.
constexpr std::uint16_t kClass = 0x07, kSize = 0x18, kMode = 0xe0, kOp = 0xf0, kSource = 0x08;
constexpr std::uint16_t kLd = 0x00, kLdx = 0x01, kSt = 0x02, kStx = 0x03, kAlu = 0x04, kJmp = 0x05, kRet = 0x06;
constexpr std::uint16_t kImm = 0x00, kInd = 0x40, kMem = 0x60, kLen = 0x80;
constexpr std::uint16_t kFromX = 0x08, kReturnA = 0x10, kTxa = 0x80;
constexpr std::uint16_t kJa = 0x00;
constexpr std::size_t kMemoryCells = 16;

// Every instruction there is: the list of bpf_check_classic() in net/core/filter.c. libpcap's bpf_validate() takes
// more, which its own machine then aborts at.
constexpr std::uint16_t kKnown[] = {
    0x00, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x80,                           // ld, ldh, ldb
    0x01, 0x61, 0x81, 0xb1, 0x02, 0x03,                                             // ldx, st, stx
    0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64,   // add to lsh
    0x6c, 0x74, 0x7c, 0x84, 0x94, 0x9c, 0xa4, 0xac,                                 // lsh to xor
    0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x06, 0x16, 0x07, 0x87};  // jumps, ret, tax, txa

// Where the classic machine lives. r6 to r9 survive calls.
constexpr std::uint8_t kStart = BPF_REG_6, kA = BPF_REG_7, kX = BPF_REG_8, kCaptured = BPF_REG_9;
constexpr std::int16_t kReadAt = -8, kLengthAt = -16, kMemoryAt = -16 - 4 * static_cast<int>(kMemoryCells);
static_assert(-kMemoryAt == kFilterStackBytes);

constexpr bpf_insn instruction(int code, int to, int from, int offset, std::int64_t immediate) {
  bpf_insn insn{};
  insn.code = static_cast<std::uint8_t>(code);
  insn.dst_reg = static_cast<std::uint8_t>(to & 0xf);
  insn.src_reg = static_cast<std::uint8_t>(from & 0xf);
  insn.off = static_cast<std::int16_t>(offset);
  insn.imm = static_cast<std::int32_t>(immediate);
  return insn;
}

/// Writes eBPF; knows where each classic instruction begins and which jumps wait for that.
class Translator {
 public:
  explicit Translator(std::span<const ClassicInstruction> program)
      : program_(program), begins_(program.size()), reachable_(program.size()) {}

  Result<std::vector<bpf_insn>> run();

 private:
  /// The instruction at `from` jumps to classic instruction `to`; kNoMatch: to where 0 is returned.
  struct Jump {
    std::size_t from;
    std::size_t to;
  };
  static constexpr std::size_t kNoMatch = std::numeric_limits<std::size_t>::max();

  void emit(int code, int to, int from, int offset, std::int64_t immediate) {
    out_.push_back(instruction(code, to, from, offset, immediate));
  }
  void emit_jump(int code, int to, int from, std::int64_t immediate, std::size_t target) {
    jumps_.push_back({out_.size(), target});
    emit(code, to, from, 0, immediate);
  }
  void begin();
  void find_reachable();
  Result<void> one(std::size_t at);
  Result<void> load(const ClassicInstruction& insn);
  Result<void> load_x(const ClassicInstruction& insn);
  Result<void> compute(const ClassicInstruction& insn);
  Result<void> jump(const ClassicInstruction& insn, std::size_t at);
  Result<void> memory(const ClassicInstruction& insn, bool stores, std::uint8_t which);
  void read_packet(std::uint32_t offset, bool plus_x, int bytes);
  Result<void> settle_jumps();
  [[nodiscard]] std::unexpected<Error> wrong(std::size_t at, const std::string& what) const;

  std::span<const ClassicInstruction> program_;
  std::vector<std::size_t> begins_;
  std::vector<bool> reachable_;
  std::vector<Jump> jumps_;
  std::vector<bpf_insn> out_;
  std::size_t at_ = 0;
};

std::unexpected<Error> Translator::wrong(std::size_t at, const std::string& what) const {
  return fail(Errc::usage, "classic BPF instruction " + std::to_string(at) + " of " + std::to_string(program_.size()) +
                               " (code " + std::to_string(program_[at].code) + "): " + what);
}

bool always_divides_by_zero(const ClassicInstruction& insn) {
  const int op = insn.code & kOp;
  return (insn.code & kClass) == kAlu && (op == BPF_DIV || op == BPF_MOD) && (insn.code & kSource) == 0 && insn.k == 0;
}

/// The verifier refuses what nothing leads to. All jumps are forward, so one pass finds it.
void Translator::find_reachable() {
  reachable_[0] = true;
  const auto reach = [this](std::size_t to) {
    if (to < reachable_.size()) reachable_[to] = true;
  };
  for (std::size_t at = 0; at < program_.size(); ++at) {
    const ClassicInstruction& insn = program_[at];
    if (!reachable_[at] || (insn.code & kClass) == kRet || always_divides_by_zero(insn)) continue;
    if ((insn.code & kClass) != kJmp) {
      reach(at + 1);
    } else if ((insn.code & kOp) == kJa) {
      reach(at + 1 + std::size_t{insn.k});
    } else {
      reach(at + 1 + insn.jump_true);
      reach(at + 1 + insn.jump_false);
    }
  }
}

void Translator::begin() {
  emit(BPF_ALU64 | BPF_MOV | BPF_X, kStart, BPF_REG_1, 0, 0);
  emit(BPF_ALU64 | BPF_MOV | BPF_X, kCaptured, BPF_REG_2, 0, 0);
  emit(BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, BPF_REG_3, kLengthAt, 0);
  emit(BPF_ALU | BPF_MOV | BPF_K, kA, 0, 0, 0);
  emit(BPF_ALU | BPF_MOV | BPF_K, kX, 0, 0, 0);
  // The verifier wants cells written before they are read; the classic machine has them zero.
  std::array<bool, kMemoryCells> read{};
  for (std::size_t at = 0; at < program_.size(); ++at) {
    if (!reachable_[at]) continue;
    const ClassicInstruction& insn = program_[at];
    const bool reads = ((insn.code & kClass) == kLd || (insn.code & kClass) == kLdx) && (insn.code & kMode) == kMem;
    if (reads && insn.k < kMemoryCells) read[insn.k] = true;
  }
  for (std::size_t cell = 0; cell < kMemoryCells; ++cell) {
    if (read[cell]) emit(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, kMemoryAt + 4 * static_cast<int>(cell), 0);
  }
}

/// Reads `bytes` of the packet to the stack, or does not match. The sums are of 64 bits, so they do not wrap.
void Translator::read_packet(std::uint32_t offset, bool plus_x, int bytes) {
  emit(BPF_ALU | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, static_cast<std::int32_t>(offset));
  if (plus_x) emit(BPF_ALU64 | BPF_ADD | BPF_X, BPF_REG_3, kX, 0, 0);
  emit(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
  emit(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_1, 0, 0, bytes);
  emit_jump(BPF_JMP | BPF_JGT | BPF_X, BPF_REG_1, kCaptured, 0, kNoMatch);
  emit(BPF_ALU64 | BPF_ADD | BPF_X, BPF_REG_3, kStart, 0, 0);
  emit(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, bytes);
  emit(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_10, 0, 0);
  emit(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_1, 0, 0, kReadAt);
  emit(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_probe_read_kernel);
  emit_jump(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 0, kNoMatch);
}

Result<void> Translator::memory(const ClassicInstruction& insn, bool stores, std::uint8_t which) {
  if (insn.k >= kMemoryCells) return wrong(at_, "there is no cell " + std::to_string(insn.k));
  const int cell = kMemoryAt + 4 * static_cast<int>(insn.k);
  if (stores) {
    emit(BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, which, cell, 0);
  } else {
    emit(BPF_LDX | BPF_MEM | BPF_W, which, BPF_REG_10, cell, 0);
  }
  return {};
}

Result<void> Translator::load(const ClassicInstruction& insn) {
  switch (insn.code & kMode) {
    case kImm:
      emit(BPF_ALU | BPF_MOV | BPF_K, kA, 0, 0, static_cast<std::int32_t>(insn.k));
      return {};
    case kLen:
      emit(BPF_LDX | BPF_MEM | BPF_W, kA, BPF_REG_10, kLengthAt, 0);
      return {};
    case kMem:
      return memory(insn, false, kA);
    default:
      break;
  }
  const int size = insn.code & kSize;
  const int bytes = size == BPF_W ? 4 : size == BPF_H ? 2 : 1;
  read_packet(insn.k, (insn.code & kMode) == kInd, bytes);
  emit(BPF_LDX | BPF_MEM | size, kA, BPF_REG_10, kReadAt, 0);
  if (bytes > 1) emit(BPF_ALU | BPF_END | BPF_TO_BE, kA, 0, 0, 8 * bytes);
  return {};
}

Result<void> Translator::load_x(const ClassicInstruction& insn) {
  switch (insn.code & kMode) {
    case kImm:
      emit(BPF_ALU | BPF_MOV | BPF_K, kX, 0, 0, static_cast<std::int32_t>(insn.k));
      return {};
    case kLen:
      emit(BPF_LDX | BPF_MEM | BPF_W, kX, BPF_REG_10, kLengthAt, 0);
      return {};
    case kMem:
      return memory(insn, false, kX);
    default:  // the length of an IPv4 header: 4 * (the low half of a byte)
      read_packet(insn.k, false, 1);
      emit(BPF_LDX | BPF_MEM | BPF_B, kX, BPF_REG_10, kReadAt, 0);
      emit(BPF_ALU | BPF_AND | BPF_K, kX, 0, 0, 0xf);
      emit(BPF_ALU | BPF_LSH | BPF_K, kX, 0, 0, 2);
      return {};
  }
}

Result<void> Translator::compute(const ClassicInstruction& insn) {
  const int op = insn.code & kOp;
  const bool by_x = (insn.code & kSource) == kFromX;
  constexpr std::uint32_t kBits = 32;
  switch (op) {
    case BPF_NEG:
      emit(BPF_ALU | BPF_NEG, kA, 0, 0, 0);
      return {};
    case BPF_DIV:
    case BPF_MOD:
      if (by_x) {
        emit_jump(BPF_JMP32 | BPF_JEQ | BPF_K, kX, 0, 0, kNoMatch);
      } else if (always_divides_by_zero(insn)) {
        emit_jump(BPF_JMP | BPF_JA, 0, 0, 0, kNoMatch);
        return {};
      }
      break;
    case BPF_LSH:
    case BPF_RSH:
      if (by_x) {  // over the shift: to after the next two
        emit(BPF_JMP32 | BPF_JLT | BPF_K, kX, 0, 2, kBits);
        emit(BPF_ALU | BPF_MOV | BPF_K, kA, 0, 0, 0);
        emit(BPF_JMP | BPF_JA, 0, 0, 1, 0);
      } else if (insn.k >= kBits) {
        emit(BPF_ALU | BPF_MOV | BPF_K, kA, 0, 0, 0);
        return {};
      }
      break;
    default:
      break;
  }
  if (by_x) {
    emit(BPF_ALU | op | BPF_X, kA, kX, 0, 0);
  } else {
    emit(BPF_ALU | op | BPF_K, kA, 0, 0, static_cast<std::int32_t>(insn.k));
  }
  return {};
}

Result<void> Translator::jump(const ClassicInstruction& insn, std::size_t at) {
  const std::size_t left = program_.size() - at - 1;
  const int op = insn.code & kOp;
  if (op == kJa) {
    if (insn.k >= left) return wrong(at, "a jump out of the program");
    emit_jump(BPF_JMP | BPF_JA, 0, 0, 0, at + 1 + insn.k);
    return {};
  }
  if (insn.jump_true >= left || insn.jump_false >= left) return wrong(at, "a jump out of the program");
  if ((insn.code & kSource) == kFromX) {
    emit_jump(BPF_JMP32 | op | BPF_X, kA, kX, 0, at + 1 + insn.jump_true);
  } else {
    emit_jump(BPF_JMP32 | op | BPF_K, kA, 0, static_cast<std::int32_t>(insn.k), at + 1 + insn.jump_true);
  }
  if (insn.jump_false != 0) emit_jump(BPF_JMP | BPF_JA, 0, 0, 0, at + 1 + insn.jump_false);
  return {};
}

Result<void> Translator::one(std::size_t at) {
  const ClassicInstruction& insn = program_[at];
  at_ = at;
  if (std::ranges::find(kKnown, insn.code) == std::end(kKnown)) return wrong(at, "no such instruction");
  switch (insn.code & kClass) {
    case kLd:
      return load(insn);
    case kLdx:
      return load_x(insn);
    case kSt:
      return memory(insn, true, kA);
    case kStx:
      return memory(insn, true, kX);
    case kAlu:
      return compute(insn);
    case kJmp:
      return jump(insn, at);
    case kRet:
      if ((insn.code & 0x18) == kReturnA) {
        emit(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_0, kA, 0, 0);
      } else {
        emit(BPF_ALU | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, static_cast<std::int32_t>(insn.k));
      }
      emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
      return {};
    default:
      break;
  }
  if ((insn.code & 0xf8) == kTxa) {
    emit(BPF_ALU | BPF_MOV | BPF_X, kA, kX, 0, 0);
  } else {
    emit(BPF_ALU | BPF_MOV | BPF_X, kX, kA, 0, 0);
  }
  return {};
}

Result<void> Translator::settle_jumps() {
  const std::size_t no_match = out_.size();
  if (std::ranges::find(jumps_, kNoMatch, &Jump::to) != jumps_.end()) {
    emit(BPF_ALU | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
    emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  }
  for (const Jump& jump : jumps_) {
    const std::size_t to = jump.to == kNoMatch ? no_match : begins_[jump.to];
    const std::size_t distance = to - jump.from - 1;
    if (distance > static_cast<std::size_t>(std::numeric_limits<std::int16_t>::max())) {
      return fail(Errc::usage, "the filter is too long to be run in the kernel: it takes " +
                                   std::to_string(out_.size()) + " instructions");
    }
    out_[jump.from].off = static_cast<std::int16_t>(distance);
  }
  return {};
}

Result<std::vector<bpf_insn>> Translator::run() {
  if (program_.empty()) return fail(Errc::usage, "a filter without instructions");
  if ((program_.back().code & kClass) != kRet) return wrong(program_.size() - 1, "the last must return");
  find_reachable();
  begin();
  for (std::size_t at = 0; at < program_.size(); ++at) {
    begins_[at] = out_.size();
    if (!reachable_[at]) continue;
    if (auto done = one(at); !done) return pass(std::move(done));
  }
  if (auto settled = settle_jumps(); !settled) return pass(std::move(settled));
  return std::move(out_);
}

}  // namespace

Result<std::vector<bpf_insn>> translate(std::span<const ClassicInstruction> program) {
  return Translator(program).run();
}

}  // namespace weir::observe
