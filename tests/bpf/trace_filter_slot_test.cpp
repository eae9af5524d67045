// Filters in a BPF object's slots: libbpf and the verifier take them, and the verdicts are libpcap's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "observe/trace/filter/bpf/filter_slot.h"
#include "observe/trace/filter/expression.h"
#include "observe/trace/filter/packet_filter.h"
#include "observe/trace/filter/place.h"
#include "observe/trace/filter/translate.h"
#include "support/filter_host.h"
#include "support/libpcap_machine.h"
#include "support/random_packets.h"

namespace weir::observe {
namespace {

using test::FilterHost;
using ::testing::HasSubstr;

class TraceFilterSlot : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

Result<FilterHost> host(const PacketFilter& filter) {
  auto image = test::slot_image();
  if (auto placed = place_packet_filter(image, filter); !placed) return pass(std::move(placed));
  return FilterHost::load(image);
}

/// As older kernels run it.
PacketFilter by_copying(const ClassicProgram& link, const ClassicProgram& network) {
  return {*translate(link, PacketAccess{}), *translate(network, PacketAccess{}), true};
}

TEST_F(TraceFilterSlot, AnEmptySlotWantsEveryPacket) {
  auto loaded = FilterHost::load(test::slot_image());
  ASSERT_TRUE(loaded) << loaded.error().message << loaded.error().hint;
  EXPECT_EQ(loaded->run("link_wanted")->return_value, 1U);
  EXPECT_EQ(loaded->run("network_wanted")->return_value, 1U);
}

TEST_F(TraceFilterSlot, VerdictsAreLibpcapsInBothSlots) {
  constexpr int kExpressions = 100;
  constexpr int kPackets = 20;
  test::PacketDice dice(23);
  int compiled = 0;
  for (int i = 0; i < kExpressions; ++i) {
    const std::string expression = dice.expression();
    const auto link = compile_expression(expression, PacketStart::link);
    const auto network = compile_expression(expression, PacketStart::network);
    if (!link || !network) continue;
    ++compiled;
    auto loaded = host(i % 2 == 0 ? *compile_packet_filter(expression) : by_copying(*link, *network));
    ASSERT_TRUE(loaded) << expression << ": " << loaded.error().message << "\n" << loaded.error().hint;
    for (int j = 0; j < kPackets; ++j) {
      const test::Packet packet = dice.packet(j % 2 == 0);
      const auto length = static_cast<std::uint32_t>(packet.size() + dice.below(100));
      ASSERT_TRUE(loaded->set_packet(packet, length));
      const std::uint32_t link_wanted = test::run_classic(*link, packet, length);
      const std::uint32_t network_wanted = test::run_classic(*network, packet, length);
      ASSERT_EQ(loaded->run("link_wanted")->return_value, link_wanted) << expression;
      ASSERT_EQ(loaded->run("network_wanted")->return_value, network_wanted) << expression;
      ASSERT_EQ(loaded->run("both_wanted")->return_value,
                (link_wanted != 0 ? 1U : 0) | (network_wanted != 0 ? 2U : 0) | 4U);
    }
  }
  EXPECT_GT(compiled, kExpressions / 2);
}

/// Wants packets that begin with one of `count` numbers, of which 1 is the last.
ClassicProgram one_of(std::uint32_t count) {
  ClassicProgram program{{0x20, 0, 0, 0}};
  for (std::uint32_t i = count; i > 0; --i) program.insert(program.end(), {{0x15, 0, 1, i}, {0x06, 0, 0, i}});
  program.push_back({0x06, 0, 0, 0});
  return program;
}

TEST_F(TraceFilterSlot, TheLargestFilterLoadsAndALargerOneIsRefused) {
  const std::size_t one = translate(one_of(1))->size();
  const std::size_t more = translate(one_of(2))->size() - one;
  const auto count = static_cast<std::uint32_t>(1 + (WEIR_FILTER_INSTRUCTIONS - one) / more);
  auto image = test::slot_image();
  const auto largest = translate(one_of(count));
  ASSERT_GT(largest->size(), WEIR_FILTER_INSTRUCTIONS - 8U);
  ASSERT_TRUE(place_filter(image, WEIR_FILTER_LINK, *largest));
  ASSERT_TRUE(place_filter(image, WEIR_FILTER_NETWORK, *largest));
  auto loaded = FilterHost::load(image);
  ASSERT_TRUE(loaded) << loaded.error().message << loaded.error().hint;
  for (const std::uint8_t number : {0, 1, 77, 255}) {
    ASSERT_TRUE(loaded->set_packet({0, 0, 0, number}, 100));
    EXPECT_EQ(loaded->run("link_wanted")->return_value, number);
    EXPECT_EQ(loaded->run("network_wanted")->return_value, number);
  }
  const auto before = image = test::slot_image();
  const auto refused = place_filter(image, WEIR_FILTER_LINK, *translate(one_of(count + 10)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::usage);
  EXPECT_THAT(refused.error().message, HasSubstr("too long"));
  EXPECT_EQ(image, before);
}

TEST_F(TraceFilterSlot, TheSlotsHaveFiltersOfTheirOwn) {
  auto image = test::slot_image();
  ASSERT_TRUE(place_filter(image, WEIR_FILTER_LINK, *translate(one_of(3))));
  ASSERT_TRUE(place_filter(image, WEIR_FILTER_NETWORK, *translate(one_of(1))));
  auto loaded = FilterHost::load(image);
  ASSERT_TRUE(loaded) << loaded.error().message << loaded.error().hint;
  ASSERT_TRUE(loaded->set_packet({0, 0, 0, 2}, 4));
  EXPECT_EQ(loaded->run("both_wanted")->return_value, 1U | 4U);
  ASSERT_TRUE(loaded->set_packet({0, 0, 0, 1}, 4));
  EXPECT_EQ(loaded->run("both_wanted")->return_value, 3U | 4U);
}

/// A frame with its tag where it is on the wire.
test::Packet with_tag(test::Packet packet, std::uint32_t tag) {
  const std::uint8_t bytes[] = {static_cast<std::uint8_t>(tag >> 24), static_cast<std::uint8_t>(tag >> 16),
                                static_cast<std::uint8_t>(tag >> 8), static_cast<std::uint8_t>(tag)};
  if (packet.size() >= 12) packet.insert(packet.begin() + 12, std::begin(bytes), std::end(bytes));
  return packet;
}

TEST_F(TraceFilterSlot, TagsBesideTheFrameAreSeen) {
  test::PacketDice dice(25);
  int matched = 0;
  for (const char* expression : {"vlan", "vlan 3", "vlan 3 and tcp", "vlan and host 10.0.0.1", "vlan 3 and ip6",
                                 "vlan and vlan 2", "not vlan", "vlan 3 and greater 90"}) {
    const auto classic = compile_expression(expression, PacketStart::link);
    const auto never = compile_expression(expression, PacketStart::network);
    for (const PacketFilter& filter : {*compile_packet_filter(expression), by_copying(*classic, *never)}) {
      EXPECT_TRUE(compile_packet_filter(expression)->speaks_of_vlans);
      auto loaded = host(filter);
      ASSERT_TRUE(loaded) << expression << ": " << loaded.error().message << "\n" << loaded.error().hint;
      for (int i = 0; i < 50; ++i) {
        const test::Packet packet = dice.packet(true);
        const std::uint32_t tag = 0x81000000U | static_cast<std::uint32_t>(dice.below(2) << 13U | dice.below(5));
        const auto length = static_cast<std::uint32_t>(packet.size());
        ASSERT_TRUE(loaded->set_packet(packet, length, tag));
        const test::Packet on_wire = with_tag(packet, tag);
        const std::uint32_t expected = packet.size() < 12 ? 0 : test::run_classic(*classic, on_wire, length + 4);
        ASSERT_EQ(loaded->run("tagged_wanted")->return_value, expected) << expression << " " << i;
        matched += expected != 0 ? 1 : 0;
      }
    }
  }
  EXPECT_GT(matched, 100);
  EXPECT_FALSE(compile_packet_filter("host 10.0.0.1 and tcp")->speaks_of_vlans);
}

}  // namespace
}  // namespace weir::observe
