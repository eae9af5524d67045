// The eBPF that translated filters use, interpreted: so that they can be tried without a kernel and under sanitizers.
#pragma once

#include <linux/bpf.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "observe/trace/filter/translate.h"

namespace weir::test {

/// Runs `program` with three arguments; what it returns, or nothing when it does what the kernel would not let it do:
/// unknown instructions, leaving the program, the stack or the
/// packet. Instruction semantics: RFC 9669.
class EbpfMachine {
 public:
  std::optional<std::uint32_t> run(std::span<const bpf_insn> program, const void* start, std::uint64_t captured,
                                   std::uint32_t length) {
    registers_.fill(0);
    start_ = registers_[1] = std::bit_cast<std::uintptr_t>(start);
    end_ = start_ + captured;
    addressed_ = false;
    registers_[2] = captured;
    registers_[3] = length;
    registers_[10] = std::bit_cast<std::uintptr_t>(stack_.data() + stack_.size());
    for (std::size_t at = 0; at < program.size();) {
      const bpf_insn& insn = program[at++];
      if (insn.code == (BPF_JMP | BPF_EXIT)) return static_cast<std::uint32_t>(registers_[0]);
      if (!step(insn, at)) return std::nullopt;
    }
    return std::nullopt;
  }

 private:
  bool step(const bpf_insn& insn, std::size_t& at) {
    switch (BPF_CLASS(insn.code)) {
      case BPF_ALU:
        return compute(insn, true);
      case BPF_ALU64:
        return compute(insn, false);
      case BPF_JMP:
        if (BPF_OP(insn.code) == BPF_CALL) return insn.src_reg == BPF_PSEUDO_KFUNC_CALL ? cast() : copy(insn.imm);
        return jump(insn, false, at);
      case BPF_JMP32:
        return jump(insn, true, at);
      default:
        return access(insn);
    }
  }

  bool compute(const bpf_insn& insn, bool narrow) {
    std::uint64_t& to = registers_[insn.dst_reg];
    std::uint64_t by =
        BPF_SRC(insn.code) == BPF_X ? registers_[insn.src_reg] : static_cast<std::uint64_t>(std::int64_t{insn.imm});
    if (BPF_OP(insn.code) == BPF_END) {
      if (insn.imm == 16) to = std::byteswap(static_cast<std::uint16_t>(to));
      if (insn.imm == 32) to = std::byteswap(static_cast<std::uint32_t>(to));
      return insn.imm == 16 || insn.imm == 32;
    }
    if (narrow) by = static_cast<std::uint32_t>(by);
    std::uint64_t was = narrow ? static_cast<std::uint32_t>(to) : to;
    switch (BPF_OP(insn.code)) {
      case BPF_MOV:
        was = by;
        break;
      case BPF_ADD:
        was += by;
        break;
      case BPF_SUB:
        was -= by;
        break;
      case BPF_MUL:
        was *= by;
        break;
      case BPF_DIV:
        was = by == 0 ? 0 : was / by;
        break;
      case BPF_MOD:
        was = by == 0 ? was : was % by;
        break;
      case BPF_OR:
        was |= by;
        break;
      case BPF_AND:
        was &= by;
        break;
      case BPF_XOR:
        was ^= by;
        break;
      case BPF_LSH:
        was <<= by & (narrow ? 31 : 63);
        break;
      case BPF_RSH:
        was >>= by & (narrow ? 31 : 63);
        break;
      case BPF_NEG:
        was = -was;
        break;
      default:
        return false;
    }
    to = narrow ? static_cast<std::uint32_t>(was) : was;
    return true;
  }

  bool jump(const bpf_insn& insn, bool narrow, std::size_t& at) {
    std::uint64_t left = registers_[insn.dst_reg];
    std::uint64_t right =
        BPF_SRC(insn.code) == BPF_X ? registers_[insn.src_reg] : static_cast<std::uint64_t>(std::int64_t{insn.imm});
    if (narrow) {
      left = static_cast<std::uint32_t>(left);
      right = static_cast<std::uint32_t>(right);
    }
    bool taken = false;
    switch (BPF_OP(insn.code)) {
      case BPF_JA:
        taken = true;
        break;
      case BPF_JEQ:
        taken = left == right;
        break;
      case BPF_JNE:
        taken = left != right;
        break;
      case BPF_JGT:
        taken = left > right;
        break;
      case BPF_JGE:
        taken = left >= right;
        break;
      case BPF_JLT:
        taken = left < right;
        break;
      case BPF_JLE:
        taken = left <= right;
        break;
      case BPF_JSET:
        taken = (left & right) != 0;
        break;
      default:
        return false;
    }
    if (taken) at += static_cast<std::size_t>(insn.off);
    return insn.off >= 0;
  }

  /// The only function of the kernel that filters call is bpf_rdonly_cast().
  bool cast() {
    addressed_ = registers_[1] == start_ && registers_[2] == 0;
    after_call(registers_[1]);
    return addressed_;
  }

  bool copy(int helper) {
    if (helper != BPF_FUNC_probe_read_kernel) return false;
    std::uint8_t* to = on_stack(registers_[1], registers_[2]);
    if (to == nullptr) return false;
    if (!in_packet(registers_[3], registers_[2])) return false;
    std::memcpy(to, std::bit_cast<const void*>(static_cast<std::uintptr_t>(registers_[3])), registers_[2]);
    after_call(0);
    return true;
  }

  void after_call(std::uint64_t result) {
    registers_[0] = result;
    for (std::size_t scratch = 1; scratch <= 5; ++scratch) registers_[scratch] = 0xdeadbeef;
  }

  bool access(const bpf_insn& insn) {
    const bool loads = BPF_CLASS(insn.code) == BPF_LDX;
    if (BPF_MODE(insn.code) != BPF_MEM || BPF_CLASS(insn.code) == BPF_LD) return false;
    const std::size_t bytes = kBytes[BPF_SIZE(insn.code) >> 3];
    const std::uint64_t address =
        registers_[loads ? insn.src_reg : insn.dst_reg] + static_cast<std::uint64_t>(std::int64_t{insn.off});
    if (loads && addressed_ && in_packet(address, bytes)) {
      registers_[insn.dst_reg] = 0;
      std::memcpy(&registers_[insn.dst_reg], std::bit_cast<const void*>(static_cast<std::uintptr_t>(address)), bytes);
      return true;
    }
    std::uint8_t* place = on_stack(address, bytes);
    if (place == nullptr || address % bytes != 0) return false;
    if (loads) {
      registers_[insn.dst_reg] = 0;
      std::memcpy(&registers_[insn.dst_reg], place, bytes);  // a little-endian machine
    } else {
      const std::uint64_t value = BPF_CLASS(insn.code) == BPF_STX ? registers_[insn.src_reg]
                                                                  : static_cast<std::uint64_t>(std::int64_t{insn.imm});
      std::memcpy(place, &value, bytes);
    }
    return true;
  }

  [[nodiscard]] bool in_packet(std::uint64_t address, std::uint64_t bytes) const {
    return address >= start_ && address <= end_ && bytes <= end_ - address;
  }

  std::uint8_t* on_stack(std::uint64_t address, std::uint64_t bytes) {
    const auto first = std::bit_cast<std::uintptr_t>(stack_.data());
    if (address < first || bytes > stack_.size() || address - first > stack_.size() - bytes) return nullptr;
    return stack_.data() + (address - first);
  }

  static constexpr std::size_t kBytes[] = {4, 2, 1, 8};

  std::array<std::uint64_t, 11> registers_{};
  std::uint64_t start_ = 0;
  std::uint64_t end_ = 0;
  bool addressed_ = false;  ///< loads may go to the packet
  alignas(8) std::array<std::uint8_t, observe::kFilterStackBytes> stack_{};
};

}  // namespace weir::test
