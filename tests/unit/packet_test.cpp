// Dissection of packets: every protocol that journeys print, every way in which a copy ends early, and what changed.
#include "model/packet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/packet_samples.h"

namespace weir::model {
namespace {

using test::sample;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint16_t kArpProtocol = 0x0806;

Packet packet_of(std::string_view name) {
  return dissect(sample(name), name == "arp_reply" ? kArpProtocol : 0);
}

/// The texts of the changes between two packets.
std::vector<std::string> changes(const Packet& before, const Packet& after) {
  std::vector<std::string> texts;
  for (const FieldChange& change : packet_changes(before, after)) texts.push_back(to_text(change));
  return texts;
}

TEST(Packet, ReadsEverySample) {
  for (const test::PacketSample& row : test::kPacketSamples) {
    const Packet packet = packet_of(row.name);
    EXPECT_EQ(to_text(packet), row.text) << row.name;
    EXPECT_FALSE(packet.truncated) << row.name;
    EXPECT_THAT(changes(packet, packet), IsEmpty()) << row.name;
  }
}

TEST(Packet, ReadsNothingBeyondACopyThatEndsAnywhere) {
  for (const test::PacketSample& row : test::kPacketSamples) {
    const PacketBytes whole = sample(row.name);
    for (std::size_t size = 0; size < whole.bytes.size(); ++size) {
      // A buffer of exactly this size, so that the address sanitizer sees a step too far.
      const PacketBytes cut{
          whole.start, whole.length, {whole.bytes.begin(), whole.bytes.begin() + static_cast<long>(size)}};
      const Packet packet = dissect(cut, row.name == std::string_view("arp_reply") ? kArpProtocol : 0);
      EXPECT_EQ(packet.length, whole.length);
      EXPECT_FALSE(to_text(packet).empty());
      // What both reach is the same; what only one reaches is no change.
      EXPECT_THAT(changes(packet, packet_of(row.name)), IsEmpty()) << row.name << " cut to " << size;
    }
  }
}

TEST(Packet, SaysThatTheCopyEndsBeforeTheHeaders) {
  PacketBytes cut = sample("vxlan");
  const std::size_t headers = 14 + 20 + 8 + 8 + 14 + 20 + 8;
  cut.bytes.resize(headers);
  EXPECT_FALSE(dissect(cut).truncated);
  for (std::size_t size = headers; size-- > 0;) {
    cut.bytes.resize(size);
    EXPECT_TRUE(dissect(cut).truncated) << size;
  }
}

TEST(Packet, HasTheFieldsOfIp) {
  const Packet v4 = packet_of("tcp_syn");
  ASSERT_TRUE(v4.ip && v4.tcp);
  EXPECT_EQ(v4.ip->id, 7U);
  EXPECT_TRUE(v4.ip->dont_fragment);
  EXPECT_EQ(v4.tcp->payload, 0U);
  EXPECT_EQ(packet_of("tcp_frame").tcp->payload, 5U);

  const Packet v6 = packet_of("udp6");
  ASSERT_TRUE(v6.ip && v6.udp);
  EXPECT_EQ(v6.ip->flow_label, 0xABCDEU);
  EXPECT_EQ(v6.ip->tos, 0x12);
  EXPECT_EQ(v6.ip->ttl, 63);
  EXPECT_EQ(v6.ip->length, 50U);
  EXPECT_FALSE(v6.ip->id);

  const Packet chain = packet_of("extensions");
  ASSERT_TRUE(chain.ip && chain.tcp);
  EXPECT_THAT(chain.ip->extensions, ElementsAre(0, 43, 60, 51));
  EXPECT_EQ(chain.ip->protocol, 6);
}

TEST(Packet, TakesTheLengthThatIpCannotSayFromThePacket) {
  PacketBytes large = sample("tcp_frame");
  large.length = 14 + 70'000;
  large.bytes[14 + 2] = large.bytes[14 + 3] = std::byte{0};
  const Packet packet = dissect(large);
  ASSERT_TRUE(packet.ip && packet.tcp);
  EXPECT_EQ(packet.ip->length, 0U);
  EXPECT_EQ(packet.tcp->payload, 70'000U - 20 - 20);
  EXPECT_TRUE(to_text(packet).ends_with("ttl 63 len 70000")) << to_text(packet);
  PacketBytes tunnel = sample("vxlan");
  tunnel.length += 1000;
  EXPECT_EQ(dissect(tunnel).inner.front().length, 14U + 32 + 1000);
}

TEST(Packet, HasNoPortsInALaterFragment) {
  EXPECT_TRUE(packet_of("frag_first").udp);
  for (const char* name : {"frag_last", "frag6"}) {
    const Packet packet = packet_of(name);
    EXPECT_FALSE(packet.udp) << name;
    EXPECT_EQ(packet.ip->fragment_offset, 1480U) << name;
    EXPECT_FALSE(packet.truncated) << name;
  }
}

TEST(Packet, ReadsTagsAndTunnels) {
  const Packet tagged = packet_of("qinq");
  ASSERT_EQ(tagged.vlans.size(), 2U);
  EXPECT_EQ(tagged.vlans[0].protocol, 0x88A8);
  EXPECT_EQ(tagged.vlans[0].priority(), 3);
  EXPECT_EQ(tagged.vlans[1].id(), 10);
  EXPECT_EQ(tagged.ethernet->type, 0x0800);

  const Packet vxlan = packet_of("vxlan");
  ASSERT_TRUE(vxlan.tunnel && vxlan.inner.size() == 1);
  EXPECT_EQ(vxlan.tunnel->id, 7U);
  EXPECT_TRUE(vxlan.inner.front().ethernet);
}

TEST(Packet, TakesATaggedNetworkLayerEitherWay) {
  const PacketBytes syn = sample("tcp_syn");
  PacketBytes tagged = syn;
  const std::array<std::byte, 4> tag{std::byte{0x00}, std::byte{0x0A}, std::byte{0x08}, std::byte{0x00}};
  tagged.bytes.insert(tagged.bytes.begin(), tag.begin(), tag.end());
  const Packet behind = dissect(syn, 0x8100);
  EXPECT_TRUE(behind.tcp && behind.vlans.empty());
  const Packet before = dissect(tagged, 0x8100);
  ASSERT_EQ(before.vlans.size(), 1U);
  EXPECT_EQ(before.vlans[0].id(), 10);
  EXPECT_TRUE(before.tcp);
}

TEST(Packet, LeavesOtherThingsOnTunnelPortsAlone) {
  PacketBytes packet = sample("vxlan");
  packet.bytes[14 + 20 + 8] = std::byte{0};  // no VNI flag
  EXPECT_FALSE(dissect(packet).tunnel);
  EXPECT_TRUE(dissect(packet).udp);
}

TEST(Packet, EndsAtATowerOfTunnels) {
  PacketBytes tower{PacketStart::network, 0, {}};
  const PacketBytes ipip = sample("ipip");
  for (int i = 0; i < 1000; ++i) tower.bytes.insert(tower.bytes.end(), ipip.bytes.begin(), ipip.bytes.begin() + 20);
  int depth = 0;
  Packet packet = dissect(tower);
  for (const Packet* at = &packet; !at->inner.empty(); at = &at->inner.front()) ++depth;
  EXPECT_LT(depth, 10);
}

TEST(PacketChanges, AreNamedAndInOrder) {
  const Packet before = packet_of("tcp_syn");
  Packet after = before;
  after.ip->dst = "10.1.0.2";
  after.ip->ttl = 62;
  after.tcp->dport = 8080;
  EXPECT_THAT(changes(before, after), ElementsAre("dst 10.0.0.2 -> 10.1.0.2", "ttl 63 -> 62", "dport 80 -> 8080"));
}

TEST(PacketChanges, SeeOneChangeInAnEncapsulation) {
  const Packet vxlan = packet_of("vxlan");
  const Packet plain = vxlan.inner.front();
  EXPECT_THAT(changes(plain, vxlan), ElementsAre("encapsulated in vxlan vni 7 (172.16.0.1 > 172.16.0.2)"));
  EXPECT_THAT(changes(vxlan, plain), ElementsAre("decapsulated from vxlan vni 7 (172.16.0.1 > 172.16.0.2)"));
  Packet routed = vxlan;
  routed.ip->ttl = 63;
  routed.inner.front().ip->dst = "10.9.9.9";
  EXPECT_THAT(changes(vxlan, routed), ElementsAre("outer_ttl 64 -> 63", "dst 10.0.0.2 -> 10.9.9.9"));
  Packet bridged = vxlan;
  bridged.tunnel->id = 8;
  EXPECT_THAT(changes(vxlan, bridged), ElementsAre("outer_tunnel vxlan vni 7 -> vxlan vni 8"));
}

TEST(PacketChanges, DoNotCountWhatOneSideDoesNotHave) {
  const Packet frame = packet_of("tcp_frame");
  Packet network = frame;
  network.ethernet.reset();
  EXPECT_THAT(changes(frame, network), IsEmpty());
  Packet short_copy = frame;
  short_copy.truncated = true;
  short_copy.tcp = TcpHeader{.sport = 80, .dport = 5000, .seq = 1};
  EXPECT_THAT(changes(frame, short_copy), IsEmpty());
}

TEST(PacketChanges, LookIntoWhatIcmpQuotes) {
  const Packet before = packet_of("frag_needed");
  Packet after = before;
  after.inner.front().ip->src = "192.168.0.1";
  EXPECT_THAT(changes(before, after), ElementsAre("quoted_src 10.0.0.1 -> 192.168.0.1"));
}

}  // namespace
}  // namespace weir::model
