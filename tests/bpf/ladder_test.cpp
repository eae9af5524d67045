// Links of the kinds that libbpf 1.1 lacks, the ladder on this kernel and on one without type information, maps.
#include "bpf/ladder.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/netfilter.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <thread>

#include "bpf/link.h"
#include "bpf/log.h"
#include "bpf/map.h"
#include "bpf/program.h"

namespace weir {
namespace {

constexpr bpf_insn insn(int code, int dst, int imm) {
  bpf_insn result{};
  result.code = static_cast<std::uint8_t>(code);
  result.dst_reg = static_cast<std::uint8_t>(dst) & 0xF;
  result.imm = imm;
  return result;
}

/// A program that returns a constant.
sys::Fd constant(std::uint32_t type, std::uint32_t attach_type, int value) {
  const bpf_insn code[] = {insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, value), insn(BPF_JMP | BPF_EXIT, 0, 0)};
  bpf_prog_load_opts options{};
  options.sz = sizeof options;
  options.expected_attach_type = static_cast<bpf_attach_type>(attach_type);
  return sys::Fd(bpf_prog_load(static_cast<bpf_prog_type>(type), "weir_test", "GPL", code, std::size(code), &options));
}

std::uint32_t id_of(const sys::Fd& program) {
  const auto info = bpf::program_info(program.get());
  EXPECT_TRUE(info) << info.error().message;
  return info ? info->id : 0;
}

/// BPF_PROG_QUERY: the ids of a device's tcx programs in the order in which they run. Debian 12's uapi header lacks the
/// attach types (BPF_TCX_INGRESS, BPF_TCX_EGRESS), not the rest.
std::vector<std::uint32_t> tcx_programs(std::uint32_t ifindex, bpf::TcSide side) {
  std::array<std::uint32_t, 8> ids{};
  bpf_attr attribute{};
  attribute.query.target_fd = ifindex;  // the union's target_ifindex
  attribute.query.attach_type = side == bpf::TcSide::ingress ? 46 : 47;
  attribute.query.prog_ids = reinterpret_cast<std::uintptr_t>(ids.data());
  attribute.query.prog_cnt = ids.size();
  EXPECT_EQ(::syscall(__NR_bpf, BPF_PROG_QUERY, &attribute, sizeof attribute), 0) << std::strerror(errno);
  return {ids.begin(), ids.begin() + attribute.query.prog_cnt};
}

/// Runs `body` in a namespace of its own.
void in_scratch(const std::function<void()>& body) {
  std::thread([&body] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    body();
  }).join();
}

class Bpf : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    const auto ladder = bpf::climb();
    ASSERT_TRUE(ladder) << ladder.error().message;
    ladder_ = *ladder;
  }
  bpf::Ladder ladder_;
};

TEST_F(Bpf, EveryAbsenceHasAReasonAndAConsequence) {
  EXPECT_FALSE(ladder_.kernel.empty());
  EXPECT_TRUE(ladder_.has("btf"));
  EXPECT_TRUE(ladder_.has("ringbuf"));
  EXPECT_FALSE(ladder_.has("no such rung"));
  for (const bpf::LadderRung& rung : ladder_.rungs) {
    EXPECT_EQ(rung.reason.empty(), rung.available) << rung.name;
    EXPECT_FALSE(rung.without_it.empty()) << rung.name;
  }
}

TEST_F(Bpf, AKernelWithoutTypeInformationLosesTheRungsThatNeedIt) {
  const auto ladder = bpf::climb({.btf_path = "/dev/null"});
  ASSERT_TRUE(ladder);
  for (const char* name : {"btf", "tp_btf", "rdonly_cast", "fentry", "fexit"}) EXPECT_FALSE(ladder->has(name)) << name;
  EXPECT_EQ(ladder->has("raw_tp"), ladder_.has("raw_tp"));
  EXPECT_EQ(ladder->has("tcx"), ladder_.has("tcx"));
}

TEST_F(Bpf, TcxLinksKeepTheOrderAskedFor) {
  if (!ladder_.has("tcx")) GTEST_SKIP() << "no tcx on this kernel";
  in_scratch([] {
    const sys::Fd first = constant(BPF_PROG_TYPE_SCHED_CLS, 0, -1);
    const sys::Fd last = constant(BPF_PROG_TYPE_SCHED_CLS, 0, -1);
    auto b = bpf::Link::tcx(last.get(), IfIndex{1}, bpf::TcSide::egress);
    ASSERT_TRUE(b) << b.error().message;
    auto a = bpf::Link::tcx(first.get(), IfIndex{1}, bpf::TcSide::egress, {.where = bpf::TcxPosition::Where::first});
    ASSERT_TRUE(a) << a.error().message;
    EXPECT_EQ(tcx_programs(1, bpf::TcSide::egress), (std::vector{id_of(first), id_of(last)}));
    const sys::Fd middle = constant(BPF_PROG_TYPE_SCHED_CLS, 0, -1);
    auto between = bpf::Link::tcx(middle.get(), IfIndex{1}, bpf::TcSide::egress,
                                  {.where = bpf::TcxPosition::Where::after, .relative_program = id_of(first)});
    ASSERT_TRUE(between) << between.error().message;
    EXPECT_EQ(tcx_programs(1, bpf::TcSide::egress), (std::vector{id_of(first), id_of(middle), id_of(last)}));
    between->detach();
    auto before = bpf::Link::tcx(middle.get(), IfIndex{1}, bpf::TcSide::egress,
                                 {.where = bpf::TcxPosition::Where::before, .relative_program = id_of(first)});
    ASSERT_TRUE(before) << before.error().message;
    EXPECT_EQ(tcx_programs(1, bpf::TcSide::egress), (std::vector{id_of(middle), id_of(first), id_of(last)}));
    EXPECT_TRUE(bpf::Link::tcx(first.get(), IfIndex{1}, bpf::TcSide::ingress).has_value());
    const auto missing = bpf::Link::tcx(first.get(), IfIndex{4242}, bpf::TcSide::egress);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, Errc::not_found);
  });
}

TEST_F(Bpf, NetfilterPrioritiesCanBeHeldOnce) {
  if (!ladder_.has("netfilter_link")) GTEST_SKIP() << "no netfilter links on this kernel";
  in_scratch([] {
    const sys::Fd accept = constant(32, 45, NF_ACCEPT);
    ASSERT_TRUE(accept.valid());
    std::vector<bpf::Link> links;
    for (const std::uint32_t family : {NFPROTO_IPV4, NFPROTO_IPV6}) {
      for (std::uint32_t hook = NF_INET_PRE_ROUTING; hook < NF_INET_NUMHOOKS; ++hook) {
        auto link = bpf::Link::netfilter(accept.get(), {family, hook, -301});
        ASSERT_TRUE(link) << link.error().message;
        links.push_back(*std::move(link));
      }
    }
    const auto taken = bpf::Link::netfilter(accept.get(), {NFPROTO_IPV4, NF_INET_PRE_ROUTING, -301});
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, Errc::busy);
    links.clear();
    EXPECT_TRUE(bpf::Link::netfilter(accept.get(), {NFPROTO_IPV4, NF_INET_PRE_ROUTING, -301}).has_value());
  });
}

TEST_F(Bpf, ALogIsCapturedAndItsEndIsKept) {
  bpf::LogCapture log;
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  EXPECT_EQ(bpf_object__open_mem("junk", 4, &options), nullptr);
  EXPECT_FALSE(log.text().empty());
  EXPECT_FALSE(log.tail(1).empty());
  EXPECT_EQ(log.tail(1).find('\n'), std::string::npos);
}

struct MapCase {
  const char* name;
  bpf_map_type type;
};

TEST_F(Bpf, WalksSeeEveryEntryOfEveryKindOfMap) {
  const auto cpus = bpf::possible_cpus();
  ASSERT_TRUE(cpus);
  for (const MapCase& row : {MapCase{"hash", BPF_MAP_TYPE_HASH}, MapCase{"lru_hash", BPF_MAP_TYPE_LRU_HASH},
                             MapCase{"array", BPF_MAP_TYPE_ARRAY}}) {
    SCOPED_TRACE(row.name);
    const sys::Fd fd(bpf_map_create(row.type, "weir_test", 4, 8, 1000, nullptr));
    ASSERT_TRUE(fd.valid());
    const auto map = bpf::Map<std::uint32_t, std::uint64_t>::open(fd.get());
    ASSERT_TRUE(map);
    for (std::uint32_t key = 0; key < 1000; ++key) (void)map->update(key, key * 3ULL);
    const auto entries = map->read_all();
    ASSERT_TRUE(entries) << entries.error().message;
    // An LRU map may have pushed some out already: it is what it is for.
    if (row.type != BPF_MAP_TYPE_LRU_HASH) {
      EXPECT_EQ(entries->size(), 1000U);
    }
    std::map<std::uint32_t, std::uint64_t> seen(entries->begin(), entries->end());
    EXPECT_EQ(seen.size(), entries->size());
    for (const auto& [key, value] : seen) EXPECT_EQ(value, key * 3ULL);
  }
  for (const MapCase& row :
       {MapCase{"percpu_hash", BPF_MAP_TYPE_PERCPU_HASH}, MapCase{"percpu_array", BPF_MAP_TYPE_PERCPU_ARRAY}}) {
    SCOPED_TRACE(row.name);
    // A value that is no multiple of 8 bytes: the kernel's stride is.
    struct Value {
      std::uint32_t a, b, c;
    };
    const sys::Fd fd(bpf_map_create(row.type, "weir_test", 4, sizeof(Value), 300, nullptr));
    const auto map = bpf::PerCpuMap<std::uint32_t, Value>::open(fd.get());
    ASSERT_TRUE(map) << map.error().message;
    for (std::uint32_t key = 0; key < 300; ++key) ASSERT_TRUE(map->update(key, {key, 1, 2}));
    std::size_t seen = 0;
    ASSERT_TRUE(map->for_each([&](const std::uint32_t& key, std::span<const Value> by_cpu) {
      ++seen;
      ASSERT_EQ(by_cpu.size(), *cpus);
      EXPECT_TRUE(std::ranges::all_of(by_cpu, [key](const Value& v) { return v.a == key && v.b == 1 && v.c == 2; }));
    }));
    EXPECT_EQ(seen, 300U);
  }
}

TEST_F(Bpf, AWalkEndsWhileOthersDelete) {
  const sys::Fd fd(bpf_map_create(BPF_MAP_TYPE_HASH, "weir_test", 4, 8, 4096, nullptr));
  const auto map = bpf::Map<std::uint32_t, std::uint64_t>::open(fd.get());
  ASSERT_TRUE(map);
  for (std::uint32_t key = 0; key < 4096; ++key) ASSERT_TRUE(map->update(key, 1));
  std::uint32_t next = 0;
  const auto walked =
      map->for_each([&](const std::uint32_t&, const std::uint64_t&) { (void)map->erase(next++ % 4096); });
  EXPECT_TRUE(walked) << walked.error().message;
}

}  // namespace
}  // namespace weir
