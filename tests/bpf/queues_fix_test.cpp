// The mitigation's program on made packets: it clears a recorded queue, whatever the packet, and nothing else.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <vector>

#include "bpf/map.h"
#include "bpf/program.h"
#include "bpf/skeleton.h"
#include "bpf/test_run.h"
#include "queues_fix.skel.h"

namespace weir {
namespace {

constexpr std::uint32_t kUnspec = 0xFFFFFFFF;  // TC_ACT_UNSPEC

std::vector<std::byte> frame(std::initializer_list<int> ether_type_and_more) {
  std::vector<std::byte> bytes(12, std::byte{2});  // addresses
  for (const int byte : ether_type_and_more) bytes.push_back(static_cast<std::byte>(byte));
  bytes.resize(80, std::byte{0});
  return bytes;
}

bpf_insn insn(int code, int dst, int src, int off, int imm) {
  bpf_insn result{};
  result.code = static_cast<std::uint8_t>(code);
  result.dst_reg = static_cast<std::uint8_t>(dst & 0xF);
  result.src_reg = static_cast<std::uint8_t>(src & 0xF);
  result.off = static_cast<std::int16_t>(off);
  result.imm = imm;
  return result;
}

struct Case {
  const char* name;
  std::vector<std::byte> packet;
};

class QueuesFixProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    auto opened = bpf::Skeleton<queues_fix>::open();
    ASSERT_TRUE(opened) << opened.error().message;
    ASSERT_TRUE(opened->load());
    skeleton_.emplace(*std::move(opened));
  }
  int program() { return bpf_program__fd((*skeleton_)->progs.weir_queue_fix); }
  /// A program that records a queue, calls the mitigation as a function, and reports queue_mapping in cb[0]: a test run
  /// neither takes queue_mapping from the context nor gives it back (net/bpf/test_run.c).
  sys::Fd wrap(std::uint32_t recorded) {
    const bpf_program* fix = (*skeleton_)->progs.weir_queue_fix;
    constexpr int kStore = BPF_STX | BPF_W | BPF_MEM;
    constexpr int kLoad = BPF_LDX | BPF_W | BPF_MEM;
    constexpr int kMove = BPF_ALU64 | BPF_MOV | BPF_X;
    std::vector<bpf_insn> code = {
        insn(kMove, 6, 1, 0, 0),                                                 // r6 = context
        insn(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, static_cast<int>(recorded)),  // r2 = recorded
        insn(kStore, 6, 2, offsetof(__sk_buff, queue_mapping), 0),               //
        insn(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 3),                      // r0 = fix(context)
        insn(kLoad, 1, 6, offsetof(__sk_buff, queue_mapping), 0),                //
        insn(kStore, 6, 1, offsetof(__sk_buff, cb), 0),                          // cb[0] = queue_mapping
        insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    };
    code.insert(code.end(), bpf_program__insns(fix), bpf_program__insns(fix) + bpf_program__insn_cnt(fix));
    return sys::Fd(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "weir_test", "GPL", code.data(), code.size(), nullptr));
  }
  std::uint64_t cleared() {
    const auto counters = bpf::PerCpuMap<std::uint32_t, std::uint64_t>::open((*skeleton_)->maps.weir_cleared);
    EXPECT_TRUE(counters);
    const auto values = counters->lookup(0);
    EXPECT_TRUE(values);
    std::uint64_t sum = 0;
    for (const std::uint64_t value : *values) sum += value;
    return sum;
  }
  std::optional<bpf::Skeleton<queues_fix>> skeleton_;
};

TEST_F(QueuesFixProgram, ClearsTheRecordedQueueOfEveryPacket) {
  const Case cases[] = {
      {"IPv4 UDP", frame({0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17})},
      {"IPv6 TCP", frame({0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64})},
      {"VLAN 5, IPv4", frame({0x81, 0x00, 0, 5, 0x08, 0x00, 0x45, 0, 0, 46})},
      {"ARP", frame({0x08, 0x06, 0, 1, 8, 0})},
  };
  std::uint64_t expected_cleared = 0;
  for (const Case& row : cases) {
    for (const std::uint32_t recorded : {0U, 1U, 5U}) {
      SCOPED_TRACE(std::string(row.name) + ", queue_mapping " + std::to_string(recorded));
      const sys::Fd wrapped = wrap(recorded);
      ASSERT_TRUE(wrapped.valid());
      __sk_buff context{};
      context.mark = 7;
      context.priority = 3;
      context.cb[0] = 99;
      const auto run = bpf::test_run(wrapped.get(), row.packet, context);
      ASSERT_TRUE(run) << run.error().message;
      expected_cleared += recorded != 0 ? 1 : 0;
      EXPECT_EQ(run->return_value, kUnspec);
      EXPECT_EQ(context.cb[0], 0U);
      EXPECT_EQ(context.mark, 7U);
      EXPECT_EQ(context.priority, 3U);
      EXPECT_EQ(run->packet, row.packet);
      EXPECT_EQ(cleared(), expected_cleared);
    }
  }
}

TEST_F(QueuesFixProgram, IsFoundByItsIdAndGoneWithItsOwner) {
  const auto info = bpf::program_info(program());
  ASSERT_TRUE(info);
  EXPECT_EQ(info->name, "weir_queue_fix");
  EXPECT_EQ(info->tag.size(), 16U);
  const auto found = bpf::find_program(info->id);
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->tag, info->tag);
}

TEST_F(QueuesFixProgram, MapsRefuseTypesOfTheWrongSize) {
  const auto as_plain = bpf::Map<std::uint32_t, std::uint64_t>::open((*skeleton_)->maps.weir_cleared);
  ASSERT_FALSE(as_plain);
  EXPECT_NE(as_plain.error().message.find("weir_cleared"), std::string::npos);
  EXPECT_FALSE((bpf::PerCpuMap<std::uint64_t, std::uint64_t>::open((*skeleton_)->maps.weir_cleared)));
}

}  // namespace
}  // namespace weir
