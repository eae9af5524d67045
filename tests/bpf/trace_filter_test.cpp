// Translated filters as the kernel runs them: the verifier takes each, and the verdict is libpcap's.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "observe/trace/filter/access.h"
#include "observe/trace/filter/expression.h"
#include "observe/trace/filter/translate.h"
#include "support/libpcap_machine.h"
#include "support/random_packets.h"
#include "sys/fd.h"

namespace weir::observe {
namespace {

/// What the program finds in its map: a packet and how long it is.
struct Slot {
  std::uint64_t captured = 0;
  std::uint64_t length = 0;
  std::array<std::uint8_t, 1024> packet{};
};

constexpr bpf_insn insn(int code, int to, int from, int offset, int immediate) {
  bpf_insn out{};
  out.code = static_cast<std::uint8_t>(code);
  out.dst_reg = static_cast<std::uint8_t>(to & 0xf);
  out.src_reg = static_cast<std::uint8_t>(from & 0xf);
  out.off = static_cast<std::int16_t>(offset);
  out.imm = immediate;
  return out;
}

/// Calls the filter on what is in the map. The packet's address goes through a copy on the stack: as a mere number, the
/// way that a tracepoint reads it from a socket buffer.
std::vector<bpf_insn> around(const std::vector<bpf_insn>& filter, int map) {
  constexpr int kBelow = -kFilterStackBytes;
  std::vector<bpf_insn> all{
      insn(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_6, BPF_PSEUDO_MAP_VALUE, 0, map),
      insn(0, 0, 0, 0, 0),
      insn(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_10, BPF_REG_6, kBelow - 8, 0),
      insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_10, 0, 0),
      insn(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_1, 0, 0, kBelow - 16),
      insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, 8),
      insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_10, 0, 0),
      insn(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_3, 0, 0, kBelow - 8),
      insn(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_probe_read_kernel),
      insn(BPF_LDX | BPF_MEM | BPF_DW, BPF_REG_1, BPF_REG_10, kBelow - 16, 0),
      insn(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_1, 0, 0, offsetof(Slot, packet)),
      insn(BPF_LDX | BPF_MEM | BPF_DW, BPF_REG_2, BPF_REG_6, offsetof(Slot, captured), 0),
      insn(BPF_LDX | BPF_MEM | BPF_DW, BPF_REG_3, BPF_REG_6, offsetof(Slot, length), 0),
  };
  all.insert(all.end(), filter.begin(), filter.end());
  return all;
}

class TraceFilterInKernel : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    map_ = sys::Fd(bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_packet", sizeof(std::uint32_t), sizeof(Slot), 1, nullptr));
    ASSERT_TRUE(map_.valid());
  }

  sys::Fd load(const std::vector<bpf_insn>& filter) {
    const std::vector<bpf_insn> program = around(filter, map_.get());
    log_.assign(1 << 16, '\0');
    bpf_prog_load_opts options{};
    options.sz = sizeof options;
    options.log_buf = log_.data();
    options.log_size = static_cast<std::uint32_t>(log_.size());
    options.log_level = 1;
    return sys::Fd(
        bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "weir_filter", "GPL", program.data(), program.size(), &options));
  }

  std::uint32_t run(const sys::Fd& program, const test::Packet& packet, std::uint32_t length) {
    Slot slot{.captured = packet.size(), .length = length, .packet = {}};
    std::ranges::copy(packet, slot.packet.begin());
    const std::uint32_t key = 0;
    EXPECT_EQ(bpf_map_update_elem(map_.get(), &key, &slot, BPF_ANY), 0);
    bpf_test_run_opts options{};
    options.sz = sizeof options;
    EXPECT_EQ(bpf_prog_test_run_opts(program.get(), &options), 0);
    return options.retval;
  }

  sys::Fd map_;
  std::string log_;
};

TEST_F(TraceFilterInKernel, EveryFilterLoadsAndDecidesAsLibpcapDoes) {
  constexpr int kExpressions = 300;
  constexpr int kPackets = 20;
  test::PacketDice dice(22);
  const PacketAccess best = best_packet_access();
  int compiled = 0;
  for (int i = 0; i < kExpressions; ++i) {
    const std::string expression = dice.expression();
    const auto classic = compile_expression(expression, PacketStart::link);
    if (!classic) continue;
    ++compiled;
    for (const PacketAccess access : {PacketAccess{}, best}) {
      const auto translated = translate(*classic, access);
      ASSERT_TRUE(translated);
      const sys::Fd program = load(*translated);
      ASSERT_TRUE(program.valid()) << expression << "\n" << log_.c_str();
      for (int j = 0; j < kPackets; ++j) {
        const test::Packet packet = dice.packet(true);
        const auto length = static_cast<std::uint32_t>(packet.size() + dice.below(100));
        ASSERT_EQ(run(program, packet, length), test::run_classic(*classic, packet, length)) << expression;
      }
    }
  }
  EXPECT_GT(compiled, kExpressions / 2);
}

}  // namespace
}  // namespace weir::observe
