// The language of --where: what conditions mean, and what is said about wrong ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "observe/trace/where/event_fields.h"
#include "observe/trace/where/where.h"

namespace weir::observe {
namespace {

using ::testing::HasSubstr;

const std::vector<Field> kFields{
    {"netns", FieldKind::text, ""},           {"dev", FieldKind::text, ""},
    {"len", FieldKind::number, ""},           {"mark", FieldKind::number, ""},
    {"queue_mapping", FieldKind::number, ""}, {"drop.reason", FieldKind::text, ""},
    {"src", FieldKind::address, ""},          {"proto", FieldKind::number, "", {{"tcp", 6}, {"udp", 17}}}};

/// A packet at eth0 in pod1; whatever is not named is absent.
const std::map<std::string, Value> kSeen{{"netns", "pod1"},
                                         {"dev", "eth0"},
                                         {"len", std::uint64_t{1500}},
                                         {"mark", std::uint64_t{0x1210}},
                                         {"queue_mapping", std::uint64_t{0}},
                                         {"src", "10.1.2.3"},
                                         {"proto", std::uint64_t{6}}};

bool holds(const std::string& expression, const std::map<std::string, Value>& seen = kSeen) {
  const auto where = Where::parse(expression, kFields);
  EXPECT_TRUE(where) << expression << ": " << where.error().message << "\n" << where.error().hint;
  return where && where->matches([&](std::size_t field) {
    const auto found = seen.find(kFields[field].name);
    return found == seen.end() ? Value{} : found->second;
  });
}

TEST(TraceWhere, ConditionsMeanWhatTheySay) {
  const std::pair<const char*, bool> cases[] = {
      {"netns == pod1", true},
      {"netns == pod2", false},
      {"netns != pod2", true},
      {"netns == \"pod1\"", true},
      {"netns=='pod1'", true},
      {"len == 1500", true},
      {"len == 0x5dc", true},
      {"len == 0X5DC", true},
      {"len < 1500", false},
      {"len <= 1500", true},
      {"len > 1499", true},
      {"len >= 1501", false},
      {"len != 1500", false},
      {"mark == 0x10/0xff", true},
      {"mark == 0x10", false},
      {"mark != 0x10/0xff", false},
      {"mark in (1, 0x1200/0xff00)", true},
      {"dev in (eth0, nic0)", true},
      {"dev in (nic0)", false},
      {"dev not in (nic0, nic1)", true},
      {"dev not in (nic0, eth0)", false},
      {"proto == tcp", true},
      {"proto in (udp, 132)", false},
      {"src == 10.1.2.3", true},
      {"src == 10.0.0.0/8", true},
      {"src == 10.1.2.0/31", false},
      {"src == 10.1.2.2/31", true},
      {"src == 0.0.0.0/0", true},
      {"src == 2001:db8::1", false},
      {"src == ::/0", false},
      {"src in (192.0.2.1, 10.1.0.0/16)", true},
      // weaker and stronger
      {"len == 1 && len == 2 || len == 1500", true},
      {"len == 1500 || len == 1 && len == 2", true},
      {"(len == 1500 || len == 1) && len == 2", false},
      {"!len == 1", true},
      {"!(len == 1) && !!(len == 1500)", true},
      {"!len == 1500 || netns == pod1", true},
      {"not len == 1 and netns == pod1 or len == 2", true},
      {"netns == pod1 && (dev in (eth0, nic0) || queue_mapping != 0) && !(drop.reason == NETFILTER_DROP) && len > 1400",
       true},
      {"queue_mapping == 0", true},
      // what is not there
      {"drop.reason == NETFILTER_DROP", false},
      {"drop.reason in (NETFILTER_DROP)", false},
      {"drop.reason != NETFILTER_DROP", true},
      {"drop.reason not in (NETFILTER_DROP)", true},
      {"!(drop.reason == NETFILTER_DROP)", true},
      {"!(drop.reason != NETFILTER_DROP)", false}};
  for (const auto& [expression, expected] : cases) EXPECT_EQ(holds(expression), expected) << expression;
}

TEST(TraceWhere, NamesMayLookLikeAlmostAnything) {
  for (const char* name : {"in", "and", "not", "eth0.5", "br-4f2a", "veth@if3", "kube/dns-1", "a:b", "id:7",
                           "nf_hook+0x1a", "#212", "1.2.3.4", "m\xc3\xbcsli"}) {
    EXPECT_TRUE(holds(std::string("dev == ") + name, {{"dev", name}})) << name;
    EXPECT_TRUE(holds(std::string("dev in (") + name + ")", {{"dev", name}})) << name;
  }
  EXPECT_TRUE(holds("dev == \"a \\\"b\\\" \\\\ c\"", {{"dev", "a \"b\" \\ c"}}));
  EXPECT_TRUE(holds("dev == \"7\"", {{"dev", "7"}}));
}

TEST(TraceWhere, AddressesAreComparedWhateverTheirSpelling) {
  const std::map<std::string, Value> seen{{"src", "2001:db8::1:0:0:1"}};
  EXPECT_TRUE(holds("src == 2001:DB8:0:0:1::1", seen));
  EXPECT_TRUE(holds("src == 2001:db8::/32", seen));
  EXPECT_FALSE(holds("src == 2001:db9::/32", seen));
  EXPECT_TRUE(holds("src == 2001:db9::/31", seen));
  EXPECT_FALSE(holds("src == 0.0.0.0/0", seen));
}

struct Wrong {
  const char* expression;
  std::size_t character;  // from 1
  const char* said;
  const char* advice;
};

TEST(TraceWhere, WrongConditionsAreSaidToBeSoAndWhere) {
  const Wrong cases[] = {
      {"", 1, "expected a field, but it ends", ""},
      {"quue_mapping != 0", 1, "unknown field quue_mapping", "did you mean queue_mapping"},
      {"netns == pod1 && lenn > 3", 18, "unknown field lenn", "len"},
      {"netns = pod1", 7, "unexpected =", "write =="},
      {"netns == a & len > 1", 12, "unexpected &", "write &&"},
      {"netns == a | len > 1", 12, "unexpected |", "write ||"},
      {"netns", 6, "expected a comparison with netns", ""},
      {"netns ==", 9, "expected text for netns, but it ends", ""},
      {"netns == )", 10, "expected text for netns, not )", ""},
      {"netns == 5", 10, "netns is text, not a number", "\"5\""},
      {"netns < pod1", 7, "netns is text: it has no order", "=="},
      {"src < 10.0.0.1", 5, "src is an address: it has no order", "=="},
      {"len > big", 7, "len is a number, and big is not", ""},
      {"len > \"5\"", 7, "len is a number", ""},
      {"len > 99999999999999999999", 7, "len is a number", ""},
      {"len > -1", 7, "len is a number, and -1 is not", ""},
      {"len > 0x", 7, "len is a number", ""},
      {"len > 0x10/0xff", 7, "a mask has no order", ""},
      {"mark == 0x10/", 9, "the mask is no number", "0x10/0xff"},
      {"mark == 0x110/0xff", 9, "never true", ""},
      {"proto == tpc", 10, "proto is a number or a name of one", "tcp"},
      {"src == pod1", 8, "src is an address, and pod1 is none", ""},
      {"src == 10.0.0.0/33", 8, "the prefix must be 0 to 32", ""},
      {"src == ::/129", 8, "the prefix must be 0 to 128", ""},
      {"src == 10.0.0/8", 8, "10.0.0 is none", ""},
      {"dev in eth0", 8, "expected a list in parentheses, not eth0", "dev in ("},
      {"dev in ()", 9, "expected text for dev", ""},
      {"dev in (a b)", 11, "expected a comma or a closing ), not b", ""},
      {"dev in (a,", 11, "expected text for dev, but it ends", ""},
      {"dev not eth0", 9, "expected \"in\", not eth0", ""},
      {"(len > 1", 9, "expected a closing ), but it ends", ""},
      {"len > 1)", 8, "expected && or ||, not )", ""},
      {"len > 1 len > 2", 9, "expected && or ||, not len", ""},
      {"len > 1 &&", 11, "expected a field, but it ends", ""},
      {"5 < len", 1, "expected a field, not 5", "the field comes first"},
      {"\"len\" > 5", 1, "expected a field", ""},
      {"dev == \"eth0", 8, "the quote is not closed", ""},
      {"dev == eth*", 11, "unexpected *", "quotes"},
      {"dev == \xc3\xbc && len = 1", 17, "unexpected =", ""},
  };
  for (const auto& [expression, character, said, advice] : cases) {
    const auto where = Where::parse(expression, kFields);
    ASSERT_FALSE(where) << expression;
    EXPECT_EQ(where.error().code, Errc::usage);
    EXPECT_THAT(where.error().message, HasSubstr(said)) << expression;
    EXPECT_THAT(where.error().message, HasSubstr(", at character " + std::to_string(character))) << expression;
    EXPECT_THAT(where.error().hint, HasSubstr("\n" + std::string(character - 1, ' ') + "^")) << expression;
    EXPECT_THAT(where.error().hint, HasSubstr(advice)) << expression;
    EXPECT_EQ(where.error().message.find('\n'), std::string::npos);
  }
}

TEST(TraceWhere, ControlCharactersAreNotGivenBack) {
  const auto where = Where::parse("len == \x1b[31m\n", kFields);
  ASSERT_FALSE(where);
  EXPECT_EQ(where.error().message.find('\x1b'), std::string::npos);
  EXPECT_EQ(where.error().hint.find('\x1b'), std::string::npos);
}

TEST(TraceWhere, DepthIsLimitedAndLengthIsNot) {
  EXPECT_THAT(Where::parse(std::string(10'000, '('), kFields).error().message, HasSubstr("nested too deeply"));
  EXPECT_THAT(Where::parse(std::string(10'000, '!'), kFields).error().message, HasSubstr("nested too deeply"));
  std::string longest = "len == 1";
  for (int i = 0; i < 10'000; ++i) longest += " || len == " + std::to_string(i);
  EXPECT_TRUE(holds(longest));
}

TEST(TraceWhere, TellsWhichFieldsItUses) {
  const auto where = Where::parse("len > 5 && !(dev == a)", kFields);
  ASSERT_TRUE(where);
  EXPECT_TRUE(where->uses(1) && where->uses(2));
  EXPECT_FALSE(where->uses(0) || where->uses(3));
}

model::TraceEvent dropped_event() {
  model::TraceEvent event;
  event.cpu = 3;
  event.hook = {7, "skb:kfree_skb"};
  event.device = {{5, "pod1"}, IfIndex{2}, "eth0"};
  event.workload = "web";
  event.skb.mark = 0x12;
  event.skb.hash = 77;
  event.skb.priority = 6;
  event.skb.queue_mapping = 2;
  event.skb.len = 1400;
  event.skb.gso_segs = 3;
  event.skb.gso_size = 1348;
  event.skb.vlan_tci = 0x6005;
  event.skb.napi_id = 8193;
  event.drop = model::Drop{8, "NETFILTER_DROP", 1, "nf_hook_slow+0x1a"};
  event.nft = model::NftVerdict{"inet", "filter", "forward", 12, "rule", "jump tenant"};
  return event;
}

TEST(TraceWhere, EveryFieldOfEventsIsThere) {
  const auto event = dropped_event();
  model::Packet packet;
  packet.ip = model::IpHeader{};
  packet.ip->src = "10.0.0.1";
  packet.ip->dst = "10.0.0.2";
  packet.ip->protocol = 6;
  packet.tcp = model::TcpHeader{};
  packet.tcp->sport = 40000;
  packet.tcp->dport = 80;
  model::Conntrack ct;
  ct.state = "established";
  ct.zone = 9;
  ct.mark = 4;
  for (const char* expression : {"netns == pod1",
                                 "dev == eth0",
                                 "ifindex == 2",
                                 "workload == web",
                                 "hook == skb:kfree_skb",
                                 "cpu == 3",
                                 "mark == 0x12",
                                 "hash == 77",
                                 "priority == 6",
                                 "queue_mapping == 2",
                                 "len == 1400",
                                 "gso_segs == 3",
                                 "gso_size == 1348",
                                 "vlan == 5",
                                 "napi_id == 8193",
                                 "drop.reason == NETFILTER_DROP",
                                 "drop.location == nf_hook_slow+0x1a",
                                 "ct.state == established",
                                 "ct.zone == 9",
                                 "ct.mark == 4",
                                 "nft.table == filter",
                                 "nft.chain == forward",
                                 "nft.handle == 12",
                                 "nft.verdict == 'jump tenant'",
                                 "proto == tcp",
                                 "src == 10.0.0.1",
                                 "dst == 10.0.0.0/24",
                                 "sport == 40000",
                                 "dport == 80"}) {
    const auto where = Where::parse(expression, event_fields());
    ASSERT_TRUE(where) << expression << ": " << where.error().message;
    EXPECT_TRUE(matches(*where, event, &packet, &ct)) << expression;
    // Of an empty event nothing of this is true, whether it has the field or not.
    EXPECT_FALSE(matches(*where, model::TraceEvent{}, nullptr, nullptr)) << expression;
  }
}

TEST(TraceWhere, FieldsOfAllEventsHaveDocsAndNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const Field& field : event_fields()) {
    EXPECT_FALSE(field.docs.empty()) << field.name;
    EXPECT_TRUE(names.insert(field.name).second) << field.name;
  }
  for (std::size_t i = 0; i < event_fields().size(); ++i) {
    const Value value = event_value(i, dropped_event(), nullptr, nullptr);
    if (std::holds_alternative<std::monostate>(value)) continue;
    EXPECT_EQ(std::holds_alternative<std::uint64_t>(value), event_fields()[i].kind == FieldKind::number)
        << event_fields()[i].name;
  }
}

TEST(TraceWhere, ThePageNamesEveryField) {
  std::ifstream file(WEIR_SOURCE_DIR "/docs/trace-filter.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  for (const Field& field : event_fields()) {
    EXPECT_THAT(page, HasSubstr("| `" + field.name + "` | " + field.docs + " |\n"));
  }
}

TEST(TraceWhere, OtherHeadersAreReadToo) {
  const auto is = [](const char* expression, const model::Packet& packet) {
    return matches(*Where::parse(expression, event_fields()), model::TraceEvent{}, &packet, nullptr);
  };
  model::Packet arp;
  arp.arp = model::ArpHeader{1, "", "10.0.0.1", "", "10.0.0.2"};
  arp.vlans.push_back({0x8100, 0x2007});
  EXPECT_TRUE(is("src == 10.0.0.1 && dst == 10.0.0.2 && vlan == 7", arp));
  EXPECT_FALSE(is("proto == 6 || sport == 0", arp));
  model::Packet sctp;
  sctp.sctp = model::PortsHeader{1, 2};
  EXPECT_TRUE(is("sport == 1 && dport == 2", sctp));
}

}  // namespace
}  // namespace weir::observe
