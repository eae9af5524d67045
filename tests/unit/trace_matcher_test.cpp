// Filters on recorded packets: the same verdict as where they were traced, tags beside the frame included.
#include <gtest/gtest.h>

#include "observe/trace/filter/expression.h"
#include "observe/trace/filter/matcher.h"
#include "observe/trace/filter/packet_filter.h"
#include "support/libpcap_machine.h"
#include "support/random_packets.h"

namespace weir::observe {
namespace {

model::PacketBytes recorded(const test::Packet& packet) {
  const auto bytes = std::as_bytes(std::span(packet));
  return {.start = model::PacketStart::link,
          .length = static_cast<std::uint32_t>(packet.size()),
          .bytes = {bytes.begin(), bytes.end()}};
}

/// The frame as it is on the wire.
test::Packet tagged(test::Packet packet, std::uint16_t protocol, std::uint16_t tci) {
  const std::uint8_t tag[] = {static_cast<std::uint8_t>(protocol >> 8U), static_cast<std::uint8_t>(protocol),
                              static_cast<std::uint8_t>(tci >> 8U), static_cast<std::uint8_t>(tci)};
  packet.insert(packet.begin() + 12, std::begin(tag), std::end(tag));
  return packet;
}

TEST(PacketMatcher, SeesTheTagBesideTheFrameOnlyWhereTheFilterSpeaksOfVlans) {
  test::PacketDice dice(31);
  int matched = 0;
  for (const char* expression :
       {"udp", "tcp", "ip", "ip6", "not ip", "greater 90", "ether proto 0x88a8", "vlan", "not vlan", "vlan 3 and tcp",
        "vlan and udp", "vlan 3 and ip6", "vlan and vlan 2", "udp or (vlan 2 and tcp)"}) {
    SCOPED_TRACE(expression);
    const auto matcher = PacketMatcher::compile(expression);
    ASSERT_TRUE(matcher) << matcher.error().message;
    const auto classic = *compile_expression(expression, PacketStart::link);
    // What the kernel's side goes by.
    const bool sees_tags = compile_packet_filter(expression)->speaks_of_vlans;
    for (int i = 0; i < 100; ++i) {
      const test::Packet packet = dice.packet(true);
      model::SkbFields skb;
      skb.vlan_tci = static_cast<std::uint16_t>(dice.below(2) << 13U | dice.below(5));
      skb.vlan_protocol = dice.below(2) == 0 ? 0x8100 : 0x88a8;
      bool expected = test::run_classic(classic, packet, static_cast<std::uint32_t>(packet.size())) != 0;
      EXPECT_EQ(matcher->matches(recorded(packet), {}), expected) << i;
      if (sees_tags) {
        const test::Packet wire =
            packet.size() < 12 ? test::Packet{} : tagged(packet, skb.vlan_protocol, *skb.vlan_tci);
        expected =
            packet.size() >= 12 && test::run_classic(classic, wire, static_cast<std::uint32_t>(wire.size())) != 0;
      }
      EXPECT_EQ(matcher->matches(recorded(packet), skb), expected) << i;
      matched += expected ? 1 : 0;
    }
  }
  EXPECT_GT(matched, 200);
}

TEST(PacketMatcher, FindsAWholeTaggedDatagramWithAndWithoutTheWord) {
  test::Packet frame(14 + 28, 0);
  frame[12] = 0x08;
  frame[14] = 0x45;
  frame[14 + 9] = 17;
  model::SkbFields skb;
  skb.vlan_tci = 42;
  EXPECT_TRUE(PacketMatcher::compile("udp")->matches(recorded(frame), skb));
  EXPECT_TRUE(PacketMatcher::compile("vlan 42 and udp")->matches(recorded(frame), skb));
  EXPECT_FALSE(PacketMatcher::compile("vlan 43 and udp")->matches(recorded(frame), skb));
  EXPECT_FALSE(PacketMatcher::compile("not vlan")->matches(recorded(frame), skb));
}

}  // namespace
}  // namespace weir::observe
