#include "observe/trace/filter/translate.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "observe/trace/filter/classic.h"

namespace weir::observe {

namespace {

// The stack, from its top: the packet's length, what is read behind the window, the window, the memory cells.
constexpr int kWindow = 64;      // Ethernet, a VLAN tag, IPv6 and the ports end at 62
constexpr int kWindowShift = 2;  // the verifier wants loads from the stack aligned, as NET_IP_ALIGN does
constexpr int kLengthAt = -8, kReadAt = -16, kWindowAt = kReadAt - kWindow - 8,
              kCellsAt = kWindowAt - 4 * static_cast<int>(classic::kCells);
static_assert(-kCellsAt == kFilterStackBytes);

/// Where the classic machine lives.
struct Registers {
  std::uint8_t start, a, x, captured, scratch;
};
constexpr Registers kOverCalls{BPF_REG_6, BPF_REG_7, BPF_REG_8, BPF_REG_9, BPF_REG_1};  // r6 to r9 survive them
constexpr Registers kWithoutCalls{BPF_REG_1, BPF_REG_0, BPF_REG_3, BPF_REG_6, BPF_REG_4};

/// Writes eBPF; knows where each classic instruction begins and which jumps wait for that.
class Translator {
 public:
  Translator(std::span<const ClassicInstruction> program, const classic::Analysis& known, PacketAccess access)
      : program_(program),
        known_(known),
        access_(access),
        in_(access.rdonly_cast != 0 ? kWithoutCalls : kOverCalls),
        begins_(program.size()) {}

  Result<std::vector<bpf_insn>> run();

 private:
  /// The instruction at `from` jumps to classic instruction `to`; kNoMatch: to where 0 is returned.
  struct Jump {
    std::size_t from;
    std::size_t to;
  };
  static constexpr std::size_t kNoMatch = std::numeric_limits<std::size_t>::max();

  void emit(int code, int to, int from, int offset, std::int64_t immediate) {
    bpf_insn insn{};
    insn.code = static_cast<std::uint8_t>(code);
    insn.dst_reg = static_cast<std::uint8_t>(to & 0xf);
    insn.src_reg = static_cast<std::uint8_t>(from & 0xf);
    insn.off = static_cast<std::int16_t>(offset);
    insn.imm = static_cast<std::int32_t>(immediate);
    out_.push_back(insn);
  }
  void set(std::uint8_t to, std::int64_t value) { emit(BPF_ALU | BPF_MOV | BPF_K, to, 0, 0, value); }
  void copy(std::uint8_t to, std::uint8_t from) { emit(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
  void copy32(std::uint8_t to, std::uint8_t from) { emit(BPF_ALU | BPF_MOV | BPF_X, to, from, 0, 0); }
  void add(std::uint8_t to, std::int64_t value) { emit(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value); }
  void jump(int code, int to, int from, std::int64_t immediate, std::size_t target) {
    jumps_.push_back({out_.size(), target});
    emit(code, to, from, 0, immediate);
  }

  void begin();
  void get_address();
  void copy_window();
  void one(std::size_t at);
  void load(const ClassicInstruction& insn, std::size_t at);
  void read_packet(const ClassicInstruction& insn, std::size_t at, std::uint8_t to);
  void read_through_address(const ClassicInstruction& insn, std::uint8_t to);
  void read_window(const ClassicInstruction& insn, std::uint8_t to);
  void read_by_copy(const ClassicInstruction& insn, std::uint8_t to);
  void take(std::uint8_t to, std::uint8_t from, int offset, int bytes);
  void compute(const ClassicInstruction& insn);
  void branch(const ClassicInstruction& insn, std::size_t at);
  void leave(const ClassicInstruction& insn);
  Result<void> settle_jumps();
  [[nodiscard]] bool in_window(const ClassicInstruction& insn) const;
  [[nodiscard]] bool reads_packet() const;

  std::span<const ClassicInstruction> program_;
  const classic::Analysis& known_;
  PacketAccess access_;
  Registers in_;
  int window_bytes_ = 0;
  int window_at_ = kWindowAt;
  std::vector<std::size_t> begins_;
  std::vector<Jump> jumps_;
  std::vector<bpf_insn> out_;
};

/// The condition that holds when this one does not; 0 when there is none.
int inverse(int condition) {
  switch (condition) {
    case BPF_JEQ:
      return BPF_JNE;
    case BPF_JGT:
      return BPF_JLE;
    case BPF_JGE:
      return BPF_JLT;
    default:
      return 0;
  }
}

int width(int bytes) {
  return bytes == 4 ? BPF_W : bytes == 2 ? BPF_H : BPF_B;
}

bool Translator::in_window(const ClassicInstruction& insn) const {
  const int bytes = classic::packet_bytes(insn);
  return bytes != 0 && (insn.code & classic::kMode) != classic::kIndirect && insn.k <= kWindow &&
         static_cast<int>(insn.k) + bytes <= kWindow;
}

bool Translator::reads_packet() const {
  for (std::size_t at = 0; at < program_.size(); ++at) {
    if (known_.reachable[at] && classic::packet_bytes(program_[at]) != 0) return true;
  }
  return false;
}

void Translator::begin() {
  if (known_.reads_length) emit(BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, BPF_REG_3, kLengthAt, 0);
  if (reads_packet()) {
    copy32(in_.captured, BPF_REG_2);
    access_.rdonly_cast != 0 ? get_address() : copy_window();
  }
  // The verifier wants what is read to be written before; in the classic machine all is zero.
  set(in_.a, 0);
  set(in_.x, 0);
  for (std::size_t cell = 0; cell < classic::kCells; ++cell) {
    if (known_.reads_cell[cell]) {
      emit(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, kCellsAt + 4 * static_cast<int>(cell), 0);
    }
  }
}

void Translator::get_address() {
  set(BPF_REG_2, 0);  // as a pointer to void
  emit(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, access_.rdonly_cast);
  copy(in_.start, BPF_REG_0);
}

/// Copies as many of the first bytes as loads at fixed places need.
void Translator::copy_window() {
  copy(in_.start, BPF_REG_1);
  int aligned = 0;
  for (std::size_t at = 0; at < program_.size(); ++at) {
    const ClassicInstruction& insn = program_[at];
    if (!known_.reachable[at] || !in_window(insn)) continue;
    const int bytes = classic::packet_bytes(insn);
    window_bytes_ = std::max(window_bytes_, static_cast<int>(insn.k) + bytes);
    if (bytes == 4) aligned += insn.k % 4 == 0 ? 1 : -1;
  }
  if (window_bytes_ == 0) return;
  window_at_ = kWindowAt + (aligned < 0 ? kWindowShift : 0);
  const int cleared = (window_at_ - kWindowAt + window_bytes_ + 7) / 8;
  set(BPF_REG_2, window_bytes_);
  emit(BPF_JMP32 | BPF_JGE | BPF_K, in_.captured, 0, cleared + 1, window_bytes_);
  for (int i = 0; i < cleared; ++i) emit(BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, kWindowAt + 8 * i, 0);
  copy(BPF_REG_2, in_.captured);
  copy(BPF_REG_1, BPF_REG_10);
  add(BPF_REG_1, window_at_);
  copy(BPF_REG_3, in_.start);
  emit(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_probe_read_kernel);
  jump(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 0, kNoMatch);
}

/// Loads a number as the network has it.
void Translator::take(std::uint8_t to, std::uint8_t from, int offset, int bytes) {
  emit(BPF_LDX | BPF_MEM | width(bytes), to, from, offset, 0);
  if (bytes > 1) emit(BPF_ALU | BPF_END | BPF_TO_BE, to, 0, 0, 8 * bytes);
}

void Translator::read_through_address(const ClassicInstruction& insn, std::uint8_t to) {
  const int bytes = classic::packet_bytes(insn);
  const std::uint8_t scratch = in_.scratch;
  if ((insn.code & classic::kMode) == classic::kIndirect) {
    copy(scratch, in_.x);
    add(scratch, insn.k + bytes);
    jump(BPF_JMP | BPF_JGT | BPF_X, scratch, in_.captured, 0, kNoMatch);
    // The other way round the verifier takes the sum for a mere number (6.18).
    copy(BPF_REG_5, in_.start);
    emit(BPF_ALU64 | BPF_ADD | BPF_X, BPF_REG_5, scratch, 0, 0);
    take(to, BPF_REG_5, -bytes, bytes);
  } else if (insn.k < std::numeric_limits<std::int16_t>::max()) {
    take(to, in_.start, static_cast<int>(insn.k), bytes);
  } else {
    copy(scratch, in_.start);
    add(scratch, insn.k);
    take(to, scratch, 0, bytes);
  }
}

/// In as many pieces as alignment wants.
void Translator::read_window(const ClassicInstruction& insn, std::uint8_t to) {
  const int bytes = classic::packet_bytes(insn);
  const int at = window_at_ + static_cast<int>(insn.k);
  const int piece = std::min(bytes, at & -at);
  take(to, BPF_REG_10, at, piece);
  for (int done = piece; done < bytes; done += piece) {
    emit(BPF_ALU | BPF_LSH | BPF_K, to, 0, 0, 8 * piece);
    take(in_.scratch, BPF_REG_10, at + done, piece);
    emit(BPF_ALU | BPF_OR | BPF_X, to, in_.scratch, 0, 0);
  }
}

/// The sums are of 64 bits, so they do not wrap.
void Translator::read_by_copy(const ClassicInstruction& insn, std::uint8_t to) {
  const int bytes = classic::packet_bytes(insn);
  set(BPF_REG_3, insn.k);
  if ((insn.code & classic::kMode) == classic::kIndirect) {
    emit(BPF_ALU64 | BPF_ADD | BPF_X, BPF_REG_3, in_.x, 0, 0);
    copy(BPF_REG_1, BPF_REG_3);
    add(BPF_REG_1, bytes);
    jump(BPF_JMP | BPF_JGT | BPF_X, BPF_REG_1, in_.captured, 0, kNoMatch);
  }
  emit(BPF_ALU64 | BPF_ADD | BPF_X, BPF_REG_3, in_.start, 0, 0);
  set(BPF_REG_2, bytes);
  copy(BPF_REG_1, BPF_REG_10);
  add(BPF_REG_1, kReadAt);
  emit(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_probe_read_kernel);
  jump(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 0, kNoMatch);
  take(to, BPF_REG_10, kReadAt, bytes);
}

/// Reads the packet, or does not match.
void Translator::read_packet(const ClassicInstruction& insn, std::size_t at, std::uint8_t to) {
  const std::uint32_t end = insn.k + static_cast<std::uint32_t>(classic::packet_bytes(insn));
  if ((insn.code & classic::kMode) != classic::kIndirect && known_.captured[at] < end) {
    jump(BPF_JMP32 | BPF_JLT | BPF_K, in_.captured, 0, end, kNoMatch);
  }
  if (access_.rdonly_cast != 0) {
    read_through_address(insn, to);
  } else if (in_window(insn)) {
    read_window(insn, to);
  } else {
    read_by_copy(insn, to);
  }
}

void Translator::load(const ClassicInstruction& insn, std::size_t at) {
  const std::uint8_t to = (insn.code & classic::kClass) == classic::kLd ? in_.a : in_.x;
  switch (insn.code & classic::kMode) {
    case classic::kImmediate:
      set(to, static_cast<std::int32_t>(insn.k));
      return;
    case classic::kLength:
      emit(BPF_LDX | BPF_MEM | BPF_W, to, BPF_REG_10, kLengthAt, 0);
      return;
    case classic::kMemory:
      emit(BPF_LDX | BPF_MEM | BPF_W, to, BPF_REG_10, kCellsAt + 4 * static_cast<int>(insn.k), 0);
      return;
    case classic::kHeaderLength:  // of IPv4: 4 * (the low half of a byte)
      read_packet(insn, at, to);
      emit(BPF_ALU | BPF_AND | BPF_K, to, 0, 0, 0xf);
      emit(BPF_ALU | BPF_LSH | BPF_K, to, 0, 0, 2);
      return;
    default:
      read_packet(insn, at, to);
  }
}

void Translator::compute(const ClassicInstruction& insn) {
  const int operation = insn.code & classic::kOperation;
  const bool by_x = (insn.code & classic::kSource) == classic::kFromX;
  constexpr std::uint32_t kBits = 32;
  if (operation == BPF_NEG) {
    emit(BPF_ALU | BPF_NEG, in_.a, 0, 0, 0);
    return;
  }
  if (by_x && (operation == BPF_DIV || operation == BPF_MOD)) {
    jump(BPF_JMP32 | BPF_JEQ | BPF_K, in_.x, 0, 0, kNoMatch);
  }
  if (operation == BPF_LSH || operation == BPF_RSH) {
    if (by_x) {  // over the shift: to after the next two
      emit(BPF_JMP32 | BPF_JLT | BPF_K, in_.x, 0, 2, kBits);
      set(in_.a, 0);
      emit(BPF_JMP | BPF_JA, 0, 0, 1, 0);
    } else if (insn.k >= kBits) {
      set(in_.a, 0);
      return;
    }
  }
  if (by_x) {
    emit(BPF_ALU | operation | BPF_X, in_.a, in_.x, 0, 0);
  } else {
    emit(BPF_ALU | operation | BPF_K, in_.a, 0, 0, static_cast<std::int32_t>(insn.k));
  }
}

void Translator::branch(const ClassicInstruction& insn, std::size_t at) {
  if (insn.code == classic::kJa) {
    jump(BPF_JMP | BPF_JA, 0, 0, 0, at + 1 + insn.k);
    return;
  }
  int operation = insn.code & classic::kOperation;
  std::size_t yes = insn.jump_true;
  std::size_t no = insn.jump_false;
  if (yes == 0 && inverse(operation) != 0) {  // then one jump does
    operation = inverse(operation);
    std::swap(yes, no);
  }
  if ((insn.code & classic::kSource) == classic::kFromX) {
    jump(BPF_JMP32 | operation | BPF_X, in_.a, in_.x, 0, at + 1 + yes);
  } else {
    jump(BPF_JMP32 | operation | BPF_K, in_.a, 0, static_cast<std::int32_t>(insn.k), at + 1 + yes);
  }
  if (no != 0) jump(BPF_JMP | BPF_JA, 0, 0, 0, at + 1 + no);
}

void Translator::leave(const ClassicInstruction& insn) {
  if (insn.code == classic::kReturnA) {
    copy32(BPF_REG_0, in_.a);
  } else {
    set(BPF_REG_0, static_cast<std::int32_t>(insn.k));
  }
  emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

void Translator::one(std::size_t at) {
  const ClassicInstruction& insn = program_[at];
  if (classic::always_fails(insn)) {
    jump(BPF_JMP | BPF_JA, 0, 0, 0, kNoMatch);
    return;
  }
  switch (insn.code & classic::kClass) {
    case classic::kLd:
    case classic::kLdx:
      return load(insn, at);
    case classic::kSt:
    case classic::kStx:
      return emit(BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, (insn.code & classic::kClass) == classic::kSt ? in_.a : in_.x,
                  kCellsAt + 4 * static_cast<int>(insn.k), 0);
    case classic::kAlu:
      return compute(insn);
    case classic::kJmp:
      return branch(insn, at);
    case classic::kRet:
      return leave(insn);
    default:
      return insn.code == classic::kTxa ? copy32(in_.a, in_.x) : copy32(in_.x, in_.a);
  }
}

Result<void> Translator::settle_jumps() {
  const std::size_t no_match = out_.size();
  if (std::ranges::find(jumps_, kNoMatch, &Jump::to) != jumps_.end()) {
    set(BPF_REG_0, 0);
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
  begin();
  for (std::size_t at = 0; at < program_.size(); ++at) {
    begins_[at] = out_.size();
    if (known_.reachable[at]) one(at);  // the verifier refuses what nothing leads to
  }
  if (auto settled = settle_jumps(); !settled) return pass(std::move(settled));
  return std::move(out_);
}

}  // namespace

Result<std::vector<bpf_insn>> translate(std::span<const ClassicInstruction> program, PacketAccess access) {
  const auto known = classic::analyse(program);
  if (!known) return std::unexpected(known.error());
  return Translator(program, *known, access).run();
}

}  // namespace weir::observe
