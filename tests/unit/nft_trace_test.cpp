// nftables' trace messages, made byte by byte: what is read from sound ones, what is refused, and whose they are.
#include <arpa/inet.h>
#include <endian.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "observe/trace/nft/join.h"
#include "observe/trace/nft/message.h"
#include "observe/trace/nft/stored.h"
#include "observe/trace/nft/switch.h"
#include "support/netlink_wire.h"

namespace weir {
namespace {

using observe::NftHeaderCarrier;
using observe::NftTraceMessage;
using observe::NftTraceOptions;
using observe::NftTraceSwitch;
using observe::parse_nft_trace;
using observe::same_packet;
using test::raw;
using test::Wire;
using ::testing::HasSubstr;

std::string be32(std::uint32_t value) {
  return raw(htonl(value));
}

std::string text(const char* value) {
  return std::string(value) + '\0';
}

std::string bytes(std::initializer_list<int> values) {
  return {values.begin(), values.end()};
}

std::vector<std::byte> as_bytes(const std::string& data) {
  const auto view = std::as_bytes(std::span(data));
  return {view.begin(), view.end()};
}

sys::NetlinkMessage message_of(const Wire& wire, std::uint8_t family = NFPROTO_INET) {
  nfgenmsg fixed{};
  fixed.nfgen_family = family;
  const std::string whole =
      wire.message(static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_TRACE), fixed);
  return sys::NetlinkMessage(std::as_bytes(std::span(whole)));
}

std::string verdict(std::int32_t code, const char* chain = nullptr) {
  Wire nest;
  nest.attr(NFTA_VERDICT_CODE, be32(static_cast<std::uint32_t>(code)));
  if (chain != nullptr) nest.attr(NFTA_VERDICT_CHAIN, text(chain));
  return nest.text();
}

Wire rule(std::int32_t code, const char* target = nullptr) {
  Wire wire;
  wire.attr(NFTA_TRACE_ID, be32(0xABCD0001))
      .attr(NFTA_TRACE_TABLE, text("lab"))
      .attr(NFTA_TRACE_CHAIN, text("services"))
      .attr(NFTA_TRACE_RULE_HANDLE, raw(htobe64(0x100000002)))
      .attr(NFTA_TRACE_TYPE, be32(NFT_TRACETYPE_RULE))
      .attr(NFTA_TRACE_VERDICT, verdict(code, target))
      .attr(NFTA_TRACE_NFPROTO, be32(NFPROTO_IPV4));
  return wire;
}

/// 10.0.0.1 > 10.0.0.2, TTL 64, id 7, `protocol`.
std::string ipv4(std::uint8_t protocol, int ttl = 64) {
  return bytes({0x45, 0, 0, 60, 0, 7, 0x40, 0, ttl, protocol, 0x12, 0x34, 10, 0, 0, 1, 10, 0, 0, 2});
}

std::string ipv6(std::uint8_t next, int hops = 64) {
  std::string header = bytes({0x60, 0, 0, 5, 0, 40, next, hops});
  for (const int last : {1, 2}) header += bytes({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last});
  return header;
}

std::string udp(int dport, int checksum = 0) {
  return bytes({0x50, 1, dport >> 8, dport & 0xff, 0, 20, checksum >> 8, checksum & 0xff});
}

NftTraceMessage with_headers(const std::string& network, const std::string& transport) {
  NftTraceMessage message;
  message.has_packet = true;
  message.packet.network = as_bytes(network);
  message.packet.transport = as_bytes(transport);
  return message;
}

bool same(const NftTraceMessage& message, const std::string& packet) {
  return same_packet(message, as_bytes(packet));
}

TEST(NftTraceMessageTest, ReadsARule) {
  const auto trace = parse_nft_trace(message_of(rule(NF_DROP)
                                                    .attr(NFTA_TRACE_LL_HEADER, "0123456789abcd")
                                                    .attr(NFTA_TRACE_NETWORK_HEADER, ipv4(17))
                                                    .attr(NFTA_TRACE_TRANSPORT_HEADER, udp(4444))
                                                    .attr(NFTA_TRACE_IIF, be32(3))
                                                    .attr(NFTA_TRACE_OIF, be32(4))
                                                    .attr(NFTA_TRACE_MARK, be32(0x2a))));
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->id, 0xABCD0001U);
  EXPECT_EQ(trace->verdict, (model::NftVerdict{"inet", "lab", "services", 0x100000002, "rule", "drop"}));
  EXPECT_EQ(trace->nfproto, NFPROTO_IPV4);
  EXPECT_EQ(trace->mark, 0x2aU);
  EXPECT_TRUE(trace->has_packet);
  EXPECT_EQ(trace->packet.link.size(), 14U);
  EXPECT_EQ(trace->packet.network, as_bytes(ipv4(17)));
  EXPECT_EQ(trace->packet.transport, as_bytes(udp(4444)));
  EXPECT_EQ(trace->packet.iif, 3U);
  EXPECT_EQ(trace->packet.oif, 4U);
  EXPECT_FALSE(trace->ct);
}

TEST(NftTraceMessageTest, ReadsEveryVerdict) {
  const std::vector<std::pair<std::int32_t, std::string>> cases{
      {NF_DROP, "drop"},          {NF_ACCEPT, "accept"},   {NF_STOLEN, "stolen"},   {NF_QUEUE | (5 << 16), "queue"},
      {NFT_CONTINUE, "continue"}, {NFT_BREAK, "break"},    {NFT_JUMP, "jump next"}, {NFT_GOTO, "goto next"},
      {NFT_RETURN, "return"},     {NF_REPEAT, "verdict 4"}};
  for (const auto& [code, expected] : cases) {
    const auto trace = parse_nft_trace(message_of(rule(code, "next")));
    ASSERT_TRUE(trace);
    EXPECT_EQ(trace->verdict.verdict, expected);
  }
}

TEST(NftTraceMessageTest, ReadsPoliciesAndReturns) {
  const Wire base = Wire().attr(NFTA_TRACE_ID, be32(1)).attr(NFTA_TRACE_TABLE, text("lab"));
  const auto policy = parse_nft_trace(
      message_of(Wire(base).attr(NFTA_TRACE_TYPE, be32(NFT_TRACETYPE_POLICY)).attr(NFTA_TRACE_POLICY, be32(NF_ACCEPT)),
                 NFPROTO_BRIDGE));
  ASSERT_TRUE(policy);
  EXPECT_EQ(policy->verdict, (model::NftVerdict{"bridge", "lab", "", 0, "policy", "accept"}));
  const auto end = parse_nft_trace(message_of(
      Wire(base).attr(NFTA_TRACE_TYPE, be32(NFT_TRACETYPE_RETURN)).attr(NFTA_TRACE_VERDICT, verdict(NFT_CONTINUE))));
  ASSERT_TRUE(end);
  EXPECT_EQ(end->verdict.type, "return");
  EXPECT_EQ(end->verdict.verdict, "return");
}

TEST(NftTraceMessageTest, ReadsTheConnection) {
  const auto trace = parse_nft_trace(
      message_of(rule(NF_ACCEPT).attr(18, be32(77)).attr(19, bytes({1})).attr(20, be32(0x188)).attr(21, be32(2))));
  ASSERT_TRUE(trace);
  EXPECT_EQ(trace->ct, (observe::NftConntrack{.id = 77, .state = 2, .status = 0x188, .direction = 1}));
}

TEST(NftTraceMessageTest, RefusesWhatIsIncompleteOrUnknown) {
  EXPECT_FALSE(parse_nft_trace(message_of(Wire())));
  EXPECT_FALSE(parse_nft_trace(message_of(Wire().attr(NFTA_TRACE_ID, be32(1)))));
  EXPECT_FALSE(parse_nft_trace(message_of(Wire().attr(NFTA_TRACE_ID, be32(1)).attr(NFTA_TRACE_TYPE, be32(9)))));
  EXPECT_FALSE(parse_nft_trace(message_of(Wire().attr(NFTA_TRACE_ID, "xy").attr(NFTA_TRACE_TYPE, be32(1)))));
  EXPECT_FALSE(parse_nft_trace(message_of(rule(NF_DROP).attr(NFTA_TRACE_VERDICT, bytes({9, 0, 1, 0})))));
}

TEST(NftTraceMessageTest, AnyTruncationIsRefusedOrShorter) {
  nfgenmsg fixed{};
  fixed.nfgen_family = NFPROTO_INET;
  const std::string whole =
      rule(NF_DROP)
          .attr(NFTA_TRACE_NETWORK_HEADER, ipv4(17))
          .message(static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_TRACE), fixed);
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    // In memory of exactly that size, so that the sanitizer sees a byte too many.
    const std::string cut = whole.substr(0, size);
    const sys::NetlinkMessage message(std::as_bytes(std::span(cut)));
    if (!observe::is_nft_trace(message)) continue;
    const auto trace = parse_nft_trace(message);
    EXPECT_TRUE(!trace || trace->packet.network.size() <= ipv4(17).size());
  }
}

TEST(NftHeaderCarrierTest, FillsInWhatTheKernelToldBefore) {
  NftHeaderCarrier carrier;
  NftTraceMessage first = with_headers(ipv4(17), udp(53));
  first.id = 5;
  EXPECT_TRUE(carrier.complete(first));
  NftTraceMessage next;
  next.id = 5;
  EXPECT_TRUE(carrier.complete(next));
  EXPECT_EQ(next.packet, first.packet);
  NftTraceMessage other;
  other.id = 6;
  EXPECT_FALSE(carrier.complete(other));
  carrier.forget();
  next.has_packet = false;
  EXPECT_FALSE(carrier.complete(next));
}

TEST(NftHeaderCarrierTest, ForgetsTheOldest) {
  NftHeaderCarrier carrier;
  for (std::uint32_t id = 0; id < 5000; ++id) {
    NftTraceMessage message = with_headers(ipv4(17), udp(53));
    message.id = id;
    carrier.complete(message);
  }
  NftTraceMessage message;
  message.id = 0;
  EXPECT_FALSE(carrier.complete(message));
  message.id = 4999;
  EXPECT_TRUE(carrier.complete(message));
}

TEST(NftSamePacket, LooksAtWhatMakesAPacket) {
  const NftTraceMessage message = with_headers(ipv4(17), udp(4444));
  EXPECT_TRUE(same(message, ipv4(17) + udp(4444)));
  EXPECT_TRUE(same(message, ipv4(17, 63) + udp(4444, 0xbeef))) << "TTL and checksum";
  EXPECT_TRUE(same(message, ipv4(17) + udp(4444) + "payload"));
  EXPECT_FALSE(same(message, ipv4(17) + udp(4445)));
  EXPECT_FALSE(same(message, ipv4(6) + udp(4444)));
  std::string other = ipv4(17);
  other[5] = 8;  // id
  EXPECT_FALSE(same(message, other + udp(4444)));
  other = ipv4(17);
  other[19] = 9;  // destination
  EXPECT_FALSE(same(message, other + udp(4444)));
  other = ipv4(17);
  other[1] = 0x10;  // TOS
  other[10] = 0;    // checksum
  EXPECT_TRUE(same(message, other + udp(4444)));
}

TEST(NftSamePacket, ComparesNoMoreThanBothHave) {
  EXPECT_TRUE(same(with_headers(ipv4(17), ""), ipv4(17) + udp(1)));
  EXPECT_TRUE(same(with_headers(ipv4(17), udp(1)), ipv4(17)));
  EXPECT_FALSE(same(with_headers("", ""), ipv4(17)));
  EXPECT_FALSE(same(with_headers(ipv4(17), ""), ""));
  EXPECT_FALSE(same(with_headers(ipv4(17).substr(0, 19), ""), ipv4(17)));
  EXPECT_FALSE(same(with_headers(ipv4(17), ""), ipv4(17).substr(0, 19)));
  EXPECT_FALSE(same(with_headers(ipv4(17), ""), ipv6(17)));
  EXPECT_FALSE(same(with_headers(bytes({0x10, 0}), ""), bytes({0x10, 0})));
}

TEST(NftSamePacket, KnowsFragmentsAndOptions) {
  std::string later = ipv4(17);
  later[6] = 0;
  later[7] = 10;  // offset
  EXPECT_TRUE(same(with_headers(later, ""), later + "any bytes are payload"));
  std::string options = ipv4(17) + bytes({1, 1, 1, 0});
  options[0] = 0x46;
  EXPECT_TRUE(same(with_headers(options, udp(9)), options + udp(9)));
  EXPECT_FALSE(same(with_headers(options, udp(9)), options + udp(8)));
  std::string changed = options;
  changed[20] = 7;
  EXPECT_FALSE(same(with_headers(options, ""), changed));
}

TEST(NftSamePacket, KnowsIpv6) {
  const NftTraceMessage message = with_headers(ipv6(17), udp(53));
  EXPECT_TRUE(same(message, ipv6(17, 1) + udp(53, 7)));
  EXPECT_FALSE(same(message, ipv6(17) + udp(54)));
  std::string other = ipv6(17);
  other[3] = 6;  // flow label
  EXPECT_FALSE(same(message, other + udp(53)));
  other = ipv6(17);
  other[1] = 0x20;  // traffic class
  EXPECT_TRUE(same(message, other + udp(53)));
  other = ipv6(17);
  other[39] = 9;
  EXPECT_FALSE(same(message, other + udp(53)));
}

TEST(NftSamePacket, FindsTheTransportBehindExtensionHeaders) {
  const std::string hop_by_hop = bytes({60, 0, 1, 4, 0, 0, 0, 0});  // next: destination options
  const std::string destination = bytes({17, 1, 1, 12}) + std::string(12, '\0');
  const NftTraceMessage message = with_headers(ipv6(0), udp(53));
  EXPECT_TRUE(same(message, ipv6(0) + hop_by_hop + destination + udp(53)));
  EXPECT_FALSE(same(message, ipv6(0) + hop_by_hop + destination + udp(54)));
  EXPECT_TRUE(same(message, ipv6(0) + hop_by_hop + destination.substr(0, 5)));
  EXPECT_TRUE(same(message, ipv6(0) + hop_by_hop.substr(0, 1)));
  const std::string first_fragment = bytes({17, 0, 0, 1, 0, 0, 0, 9});
  const std::string later_fragment = bytes({17, 0, 0, 8, 0, 0, 0, 9});
  EXPECT_FALSE(same(with_headers(ipv6(44), udp(53)), ipv6(44) + first_fragment + udp(54)));
  EXPECT_TRUE(same(with_headers(ipv6(44), ""), ipv6(44) + later_fragment + "payload"));
}

TEST(NftSamePacket, TellsPingsAndSegmentsApart) {
  const std::string ping = bytes({8, 0, 0x11, 0x22, 0, 5, 0, 1});
  std::string next = ping;
  next[7] = 2;
  EXPECT_TRUE(same(with_headers(ipv4(1), ping), ipv4(1) + ping));
  EXPECT_FALSE(same(with_headers(ipv4(1), ping), ipv4(1) + next));
  const std::string segment = bytes({0, 80, 1, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 2, 1, 1, 9, 9, 0, 0});
  std::string offloaded = segment;
  offloaded[16] = 0;  // checksum
  std::string retransmitted = segment;
  retransmitted[7] = 9;
  EXPECT_TRUE(same(with_headers(ipv4(6), segment), ipv4(6) + offloaded));
  EXPECT_FALSE(same(with_headers(ipv4(6), segment), ipv4(6) + retransmitted));
}

TEST(NftTracePlan, SaysWhatWouldBeAdded) {
  const auto all = NftTraceSwitch::plan({});
  ASSERT_TRUE(all);
  EXPECT_THAT(*all, HasSubstr("table inet weir_trace_"));
  EXPECT_THAT(*all, HasSubstr("flags owner"));
  EXPECT_THAT(*all, HasSubstr("type filter hook prerouting priority -301; policy accept;\n    jump mark\n"));
  const auto some = NftTraceSwitch::plan({.address = "fd00::1", .protocol = 6, .port = 80, .per_second = 100});
  ASSERT_TRUE(some);
  EXPECT_THAT(*some, HasSubstr("limit rate 100/second meta nftrace set 1"));
  EXPECT_THAT(*some, HasSubstr("meta nfproto ipv6 ip6 daddr fd00::1 meta l4proto 6 th dport 80 jump mark"));
  EXPECT_TRUE(NftTraceSwitch::is_own_table("weir_trace_1"));
  EXPECT_FALSE(NftTraceSwitch::is_own_table("lab"));
}

TEST(NftTracePlan, RefusesWrongOptions) {
  NftTraceOptions name;
  name.address = "server";
  NftTraceOptions icmp;
  icmp.protocol = 1;
  icmp.port = 80;
  for (const NftTraceOptions& wrong : {name, icmp}) {
    const auto plan = NftTraceSwitch::plan(wrong);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().code, Errc::usage);
  }
}

TEST(NftStored, ComesBackAsItWasAndIsRefusedWhenTorn) {
  NftTraceMessage message;
  message.id = 7;
  message.time_ns = 123'456'789'012;
  message.nfproto = NFPROTO_IPV6;
  message.mark = 0x2a;
  message.verdict = {"inet", "filter", std::string(255, 'c'), 41, "rule", "jump " + std::string(255, 'd')};
  message.has_packet = true;
  message.packet = {as_bytes(std::string(14, 'l')), as_bytes(std::string(40, 'n')), {}, 3, 0};
  auto stored = observe::store_nft_trace(99, message);
  const auto read = observe::read_stored_nft_trace(stored);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->netns, 99U);
  EXPECT_EQ(read->message.id, message.id);
  EXPECT_EQ(read->message.time_ns, message.time_ns);
  EXPECT_EQ(read->message.nfproto, message.nfproto);
  EXPECT_EQ(read->message.mark, message.mark);
  EXPECT_TRUE(read->message.has_packet);
  EXPECT_EQ(read->message.packet, message.packet);
  EXPECT_EQ(read->message.verdict, message.verdict);
  for (std::size_t size = 0; size < stored.size(); ++size) {
    EXPECT_FALSE(observe::read_stored_nft_trace(std::span(stored).first(size))) << size;
  }
  stored.resize(stored.size() + 8);
  EXPECT_TRUE(observe::read_stored_nft_trace(stored)) << "what a later version adds";
}

}  // namespace
}  // namespace weir
