// Conntrack's messages, made byte by byte, and what a table makes of dumps and events.
#include <arpa/inet.h>
#include <endian.h>
#include <gtest/gtest.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "observe/flows/conntrack/message.h"
#include "observe/flows/conntrack/table.h"
#include "support/netlink_wire.h"

namespace weir::observe {
namespace {

using model::ConntrackEntry;
using test::raw;
using test::Wire;

struct End {
  std::string source;
  std::string destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
};

std::string address(const std::string& text) {
  std::array<char, 16> bytes{};
  const int family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
  EXPECT_EQ(inet_pton(family, text.c_str(), bytes.data()), 1);
  return {bytes.data(), family == AF_INET ? 4U : 16U};
}

std::string tuple(const End& end, std::uint8_t protocol = 6) {
  const bool v4 = end.source.find(':') == std::string::npos;
  Wire ip;
  ip.attr(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, address(end.source));
  ip.attr(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, address(end.destination));
  Wire proto;
  proto.attr(CTA_PROTO_NUM, raw(protocol));
  proto.attr(CTA_PROTO_SRC_PORT, raw(htons(end.source_port)));
  proto.attr(CTA_PROTO_DST_PORT, raw(htons(end.destination_port)));
  Wire all;
  all.attr(CTA_TUPLE_IP | NLA_F_NESTED, ip.text());
  all.attr(CTA_TUPLE_PROTO | NLA_F_NESTED, proto.text());
  return all.text();
}

const End kClient{"10.0.0.1", "10.0.0.100", 4711, 80};
const End kServer{"10.0.0.3", "10.0.0.2", 8080, 60000};

std::string message(const Wire& wire, std::uint8_t type = IPCTNL_MSG_CT_NEW) {
  return wire.message(static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type), nfgenmsg{});
}

std::span<const std::byte> bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

Wire plain(const End& original = kClient, const End& reply = kServer) {
  Wire wire;
  wire.attr(CTA_TUPLE_ORIG | NLA_F_NESTED, tuple(original));
  wire.attr(CTA_TUPLE_REPLY | NLA_F_NESTED, tuple(reply));
  wire.attr(CTA_ID, raw(htonl(42)));
  return wire;
}

Wire with_tcp_state(Wire wire, std::uint8_t state) {
  Wire tcp;
  tcp.attr(CTA_PROTOINFO_TCP_STATE, raw(state));
  Wire info;
  info.attr(CTA_PROTOINFO_TCP | NLA_F_NESTED, tcp.text());
  wire.attr(CTA_PROTOINFO | NLA_F_NESTED, info.text());
  return wire;
}

ConntrackMessage parsed(const Wire& wire, std::uint8_t type = IPCTNL_MSG_CT_NEW) {
  const std::string whole = message(wire, type);
  EXPECT_TRUE(is_conntrack(bytes(whole)));
  auto read = parse_conntrack(bytes(whole));
  if (!read) throw std::runtime_error(read.error().message);
  return *read;
}

TEST(ConntrackMessageTest, SaysWhatTheKernelKnows) {
  Wire counters;
  counters.attr(CTA_COUNTERS_PACKETS, raw(htobe64(7))).attr(CTA_COUNTERS_BYTES, raw(htobe64(700)));
  Wire start;
  start.attr(1, raw(htobe64(1'700'000'000'000'000'000)));
  Wire wire = with_tcp_state(plain(), 3);
  wire.attr(CTA_STATUS, raw(htonl(0x2e))).attr(CTA_TIMEOUT, raw(htonl(300))).attr(CTA_MARK, raw(htonl(0x10)));
  wire.attr(CTA_ZONE, raw(htons(5))).attr(CTA_COUNTERS_ORIG | NLA_F_NESTED, counters.text());
  wire.attr(CTA_TIMESTAMP | NLA_F_NESTED, start.text()).attr(200, "of a newer kernel");
  const ConntrackMessage read = parsed(wire);
  const ConntrackEntry& entry = read.entry;
  EXPECT_FALSE(read.destroyed);
  EXPECT_EQ(to_string(entry.original), "10.0.0.1:4711 > 10.0.0.100:80");
  EXPECT_EQ(to_string(entry.reply), "10.0.0.3:8080 > 10.0.0.2:60000");
  EXPECT_TRUE(entry.rewrites());
  EXPECT_EQ(entry.zone, 5);
  EXPECT_EQ(entry.mark, 0x10U);
  EXPECT_EQ(entry.id, 42U);
  EXPECT_EQ(entry.timeout_s, 300U);
  EXPECT_EQ(state_text(entry), "ESTABLISHED");
  EXPECT_EQ(model::status_names(entry.status),
            (std::vector<std::string_view>{"SEEN_REPLY", "ASSURED", "CONFIRMED", "DST_NAT"}));
  ASSERT_TRUE(entry.original_count);
  EXPECT_EQ(entry.original_count->bytes, 700U);
  EXPECT_FALSE(entry.reply_count) << "not counted is not zero";
  ASSERT_TRUE(entry.started);
  EXPECT_EQ(entry.started->time_since_epoch().count(), 1'700'000'000'000'000'000);
}

TEST(ConntrackMessageTest, KnowsBothFamiliesAndIcmp) {
  const ConntrackMessage v6 = parsed(plain({"2001:db8::1", "2001:db8::2", 1, 2}, {"2001:db8::2", "2001:db8::1", 2, 1}));
  EXPECT_EQ(to_string(v6.entry.original), "[2001:db8::1]:1 > [2001:db8::2]:2");
  EXPECT_FALSE(v6.entry.rewrites());
  Wire ip;
  ip.attr(CTA_IP_V4_SRC, address("10.0.0.1")).attr(CTA_IP_V4_DST, address("10.0.0.2"));
  Wire proto;
  proto.attr(CTA_PROTO_NUM, raw(std::uint8_t{1})).attr(CTA_PROTO_ICMP_ID, raw(htons(77)));
  Wire inner;
  inner.attr(CTA_TUPLE_IP, ip.text()).attr(CTA_TUPLE_PROTO, proto.text()).attr(CTA_TUPLE_ZONE, raw(htons(3)));
  Wire wire;
  wire.attr(CTA_TUPLE_ORIG, inner.text());
  const ConntrackMessage ping = parsed(wire);
  EXPECT_EQ(to_string(ping.entry.original), "10.0.0.1 > 10.0.0.2");
  EXPECT_EQ(ping.entry.icmp_id, 77);
  EXPECT_EQ(ping.entry.zone, 3) << "a zone of one direction";
}

TEST(ConntrackMessageTest, RefusesWhatIsTorn) {
  const std::string whole = message(with_tcp_state(plain(), 3));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    static_cast<void>(parse_conntrack(bytes(whole).first(length)));  // under the sanitizers
  }
  EXPECT_FALSE(parse_conntrack(bytes(whole).first(18)));
  std::string torn = whole;
  torn[20] = '\x7f';  // the first attribute is longer than the message
  torn[21] = '\x7f';
  EXPECT_FALSE(parse_conntrack(bytes(torn)));
  EXPECT_FALSE(parse_conntrack(bytes(message(Wire{})))) << "no tuple";
  EXPECT_FALSE(is_conntrack(bytes(Wire{}.message(NFNL_SUBSYS_NFTABLES << 8, nfgenmsg{}))));
}

std::vector<ConntrackEntry> all_of(const ConntrackTable& table) {
  std::vector<ConntrackEntry> all;
  table.each([&](const ConntrackEntry& entry) { all.push_back(entry); });
  return all;
}

TEST(ConntrackTableTest, EventsChangeOnlyWhatTheySay) {
  ConntrackTable table(7, 100);
  Wire first = with_tcp_state(plain(), 1);
  first.attr(CTA_STATUS, raw(htonl(8))).attr(CTA_MARK, raw(htonl(5)));
  table.take_event(parsed(first), {});
  table.take_event(parsed(with_tcp_state(plain(), 3)), {});
  const auto entries = all_of(table);
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].netns, 7U);
  EXPECT_EQ(entries[0].mark, 5U);
  EXPECT_EQ(entries[0].status, 8U);
  EXPECT_EQ(state_text(entries[0]), "ESTABLISHED");
}

TEST(ConntrackTableTest, AnEndIsToldOnceAndKeptForTheWindow) {
  ConntrackTable table(7, 100);
  int over = 0;
  const auto count = [&](const ConntrackEntry&) { ++over; };
  table.take_event(parsed(with_tcp_state(plain(), 3)), count);
  EXPECT_EQ(over, 0);
  table.take_event(parsed(with_tcp_state(plain(), 7)), count);
  EXPECT_EQ(over, 1) << "TIME_WAIT";
  table.take_event(parsed(plain(), IPCTNL_MSG_CT_DELETE), count);
  EXPECT_EQ(over, 1);
  EXPECT_EQ(table.size(), 0U);
  ASSERT_EQ(all_of(table).size(), 1U);
  EXPECT_TRUE(all_of(table)[0].ended);
  EXPECT_EQ(state_text(all_of(table)[0]), "TIME_WAIT");
  table.forget_ended();
  EXPECT_TRUE(all_of(table).empty());
}

TEST(ConntrackTableTest, ALateEndIsNotThatOfTheNextWithTheTuple) {
  ConntrackTable table(7, 100);
  Wire next;
  next.attr(CTA_TUPLE_ORIG, tuple(kClient)).attr(CTA_TUPLE_REPLY, tuple(kServer)).attr(CTA_ID, raw(htonl(43)));
  table.begin_dump();
  table.take_dumped(parsed(next), {});
  table.end_dump({});
  table.take_event(parsed(plain(), IPCTNL_MSG_CT_DELETE), {});
  EXPECT_EQ(table.size(), 1U);
}

TEST(ConntrackTableTest, ADumpEndsOnlyWhatEventsWouldNotTell) {
  ConntrackTable table(7, 100);
  table.begin_dump();
  table.take_dumped(parsed(plain()), {});  // began before anybody listened
  table.end_dump({});
  table.take_event(parsed(plain({"10.0.0.9", "10.0.0.100", 1, 80})), {});
  table.begin_dump();
  table.end_dump({});
  EXPECT_EQ(table.size(), 1U);
  table.distrust_events();
  table.begin_dump();
  table.end_dump({});
  EXPECT_EQ(table.size(), 0U);
  EXPECT_EQ(all_of(table).size(), 2U);
}

TEST(ConntrackTableTest, IsBoundedAndCountsWhatItLeavesOut) {
  ConntrackTable table(7, 2);
  for (std::uint16_t port = 1; port <= 5; ++port)
    table.take_event(parsed(plain({"10.0.0.9", "10.0.0.100", port, 80})), {});
  EXPECT_EQ(table.size(), 2U);
  EXPECT_EQ(table.not_kept(), 3U);
}

}  // namespace
}  // namespace weir::observe
