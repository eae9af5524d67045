// Packet journeys as JSON: the keys that others build on, and what counts as a change.
#include "model/trace_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/json.h"
#include "support/packet_samples.h"

namespace weir::model {
namespace {

using test::sample;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Json = nlohmann::ordered_json;

std::vector<std::string> keys(const Json& object) {
  std::vector<std::string> names;
  for (const auto& [key, value] : object.items()) names.push_back(key);
  return names;
}

std::vector<std::string> keys(const FieldChanges& changes) {
  std::vector<std::string> names;
  for (const auto& [key, values] : changes) names.push_back(key);
  return names;
}

TraceEvent event() {
  TraceEvent event;
  event.time_ns = 1'000'000'123;
  event.journey = 0xABCDEF;
  event.sequence = 3;
  event.cpu = 1;
  event.hook = {4, "net:net_dev_queue"};
  event.device = {{7, "pod"}, IfIndex{2}, "eth0"};
  event.skb.address = 0xFFFF888000000000;
  event.skb.queue_mapping = 1;
  event.skb.mark = 2;
  event.skb.hash = 3;
  event.skb.priority = 4;
  event.skb.len = 74;
  event.skb.protocol = 0x0800;
  return event;
}

TEST(TraceJson, HasTheKeysOfTheSchema) {
  const TraceEvent plain = event();
  const Json json = to_json(plain, nullptr, {}, std::chrono::nanoseconds(1'763'719'200'000'000'000));
  EXPECT_THAT(keys(json), ElementsAre("schema", "time", "time_ns", "cpu", "journey", "sequence", "first", "last",
                                      "clone", "hook", "netns", "dev", "ifindex", "workload", "packet", "skb", "ct",
                                      "nft", "drop", "fib", "xdp", "result", "changed", "stack"));
  EXPECT_EQ(json["schema"], "weir.event/1");
  EXPECT_EQ(json["time"], "2025-11-21T10:00:01.000000123Z");
  EXPECT_EQ(json["journey"], "0000000000abcdef");
  EXPECT_EQ(json["hook"], "net:net_dev_queue");
  EXPECT_EQ(json["netns"], "pod");
  EXPECT_EQ(json["dev"], "eth0");
  for (const char* key : {"packet", "ct", "nft", "drop", "fib", "xdp", "result", "stack", "workload"}) {
    EXPECT_TRUE(json[key].is_null()) << key;
  }
  EXPECT_THAT(keys(json["skb"]), ElementsAre("address", "queue_mapping", "mark", "hash", "priority", "len", "gso_segs",
                                             "gso_size", "protocol", "vlan", "napi_id", "ip_summed", "iif"));
  EXPECT_TRUE(json["changed"].empty() && json["changed"].is_object());
}

TEST(TraceJson, HasWhatAnEventCarries) {
  TraceEvent full = event();
  full.ct = Conntrack{.state = "new",
                      .status = 0x188,
                      .mark = 1,
                      .zone = 2,
                      .original = {"10.0.0.1", "10.0.0.9", 1, 80, 6},
                      .reply = {"10.1.0.2", "10.0.0.1", 8080, 1, 6}};
  full.nft = NftVerdict{"inet", "filter", "input", 12, "rule", "drop"};
  full.drop = Drop{6, "NETFILTER_DROP", 0xFFFFFFFF81000000, "nf_hook_slow+0x9a"};
  full.fib = FibLookup{254, -101, 0, "10.0.0.1", "10.9.0.1", ""};
  full.result = -1;
  full.stack = {"ip_rcv+0x1", "netif_receive_skb+0x2"};
  full.skb.vlan_tci = 0x600A;
  full.skb.ip_summed = 3;
  const Packet packet = dissect(sample("tcp_syn"));
  FieldChanges changes;
  changes["queue_mapping"] = {Json(0), Json(1)};
  const Json json = to_json(full, &packet, changes, std::chrono::nanoseconds(0));
  EXPECT_EQ(json["changed"]["queue_mapping"], Json::array({0, 1}));
  EXPECT_EQ(json["ct"]["status"], Json::array({"confirmed", "src-nat-done", "dst-nat-done"}));
  EXPECT_EQ(json["ct"]["reply"]["sport"], 8080);
  EXPECT_EQ(json["nft"]["handle"], 12);
  EXPECT_EQ(json["drop"]["reason"], "NETFILTER_DROP");
  EXPECT_EQ(json["drop"]["address"], "0xffffffff81000000");
  EXPECT_EQ(json["fib"]["error"], -101);
  EXPECT_TRUE(json["fib"]["gateway"].is_null());
  EXPECT_EQ(json["result"], -1);
  EXPECT_EQ(json["stack"].size(), 2U);
  EXPECT_EQ(json["skb"]["vlan"]["id"], 10);
  EXPECT_EQ(json["skb"]["vlan"]["priority"], 3);
  EXPECT_EQ(json["skb"]["ip_summed"], "partial");
  EXPECT_EQ(json["packet"]["text"], "10.0.0.1:5000 > 10.0.0.2:80 tcp SYN seq 123 win 64240 ttl 63 len 60");
  EXPECT_EQ(json["packet"]["tcp"]["flags"], "SYN");
}

TEST(TraceJson, SaysEveryHeader) {
  for (const test::PacketSample& row : test::kPacketSamples) {
    const Json json = to_json(dissect(sample(row.name), row.name == std::string_view("arp_reply") ? 0x0806 : 0));
    EXPECT_EQ(json["text"], row.text);
  }
  const Json vxlan = to_json(dissect(sample("vxlan")));
  EXPECT_EQ(vxlan["tunnel"], (Json{{"kind", "vxlan"}, {"vni", 7}}));
  EXPECT_EQ(vxlan["inner"]["ip"]["dst"], "10.0.0.2");
  EXPECT_EQ(to_json(dissect(sample("gre_key")))["tunnel"]["key"], 5);
  EXPECT_EQ(to_json(dissect(sample("frag_needed")))["quoted"]["tcp"]["dport"], 80);
  EXPECT_EQ(to_json(dissect(sample("extensions")))["ip"]["extensions"],
            Json::array({"hop-by-hop", "routing", "dest-opts", "ah"}));
  EXPECT_EQ(to_json(dissect(sample("qinq")))["vlans"].size(), 2U);
  EXPECT_EQ(to_json(dissect(sample("arp_request")))["arp"]["target_ip"], "10.0.0.2");
}

TEST(TraceJson, IsSoundWhateverNamesHold) {
  TraceEvent odd = event();
  odd.device.name = "q\"uote\\";
  odd.device.netns.name = "b\xC3(d\n\x01";
  odd.workload = "schön";
  odd.hook.name = "";
  FieldChanges changes;
  changes["dev"] = {Json(), Json("e\"")};
  changes["result"] = {Json(-1), Json(true)};
  const Json json = Json::parse(event_line(odd, nullptr, changes, std::chrono::nanoseconds(0)));
  EXPECT_EQ(json["dev"], odd.device.name);
  EXPECT_EQ(json["netns"], "b\uFFFD(d\n\x01");
  EXPECT_EQ(json["workload"], odd.workload);
  EXPECT_EQ(json["hook"], "");
  EXPECT_EQ(json["changed"], (Json{{"dev", {nullptr, "e\""}}, {"result", {-1, true}}}));
}

TEST(TraceJson, KeepsTheBooks) {
  TraceSummary summary;
  summary.hooks["a"] = {10, 5, 3, 1, 1, 1};
  summary.hooks["b"] = {20, 20, 0, 0, 0, 0};
  summary.journeys = 9;
  summary.journeys_complete = 8;
  summary.notes = {"no kprobes"};
  const Json json = to_json(summary);
  EXPECT_THAT(keys(json), ElementsAre("schema", "seen", "emitted", "filtered", "sampled_out", "lost", "missed",
                                      "journeys", "journeys_complete", "duration_ns", "hooks", "notes"));
  EXPECT_EQ(json["seen"], 30);
  EXPECT_EQ(json["hooks"]["a"]["lost"], 1);
  EXPECT_EQ(json["missed"], 1);
  EXPECT_EQ(json["notes"][0], "no kprobes");
}

TEST(FieldChangesTest, ComparesMetadata) {
  const TraceEvent before = event();
  TraceEvent now = before;
  EXPECT_THAT(keys(field_changes(before, now)), IsEmpty());
  now.skb.address = 1;  // a clone is no change of a field
  now.skb.queue_mapping = 0;
  now.skb.mark = now.skb.hash = now.skb.priority = 9;
  now.skb.len = 60;
  now.skb.gso_segs = 2;
  now.skb.gso_size = 1448;
  now.skb.protocol = 0x86DD;
  now.skb.napi_id = 5;
  now.skb.ip_summed = 1;
  now.skb.vlan_tci = 10;
  now.device = {{8, "host"}, IfIndex{3}, "veth0"};
  const FieldChanges changes = field_changes(before, now);
  EXPECT_THAT(keys(changes), ElementsAre("dev", "gso_segs", "gso_size", "hash", "ip_summed", "len", "mark", "napi_id",
                                         "netns", "priority", "protocol", "queue_mapping", "vlan"));
  EXPECT_EQ(changes.at("queue_mapping").first, 1);
  EXPECT_EQ(changes.at("queue_mapping").second, 0);
  EXPECT_TRUE(changes.at("vlan").first.is_null());
  EXPECT_EQ(changes.at("netns").second, "host");
}

TEST(FieldChangesTest, SeesNat) {
  TraceEvent before = event();
  before.packet = sample("tcp_syn");
  TraceEvent now = before;
  const std::size_t destination = 16;
  now.packet->bytes[destination + 3] = std::byte{9};
  const FieldChanges changes = field_changes(before, now);
  ASSERT_THAT(keys(changes), ElementsAre("dst"));
  EXPECT_EQ(changes.at("dst").first, "10.0.0.2");
  EXPECT_EQ(changes.at("dst").second, "10.0.0.9");
}

TEST(FieldChangesTest, RemembersOverEventsThatSayNothing) {
  JourneyState state;
  TraceEvent first = event();
  first.packet = sample("tcp_syn");
  first.ct = Conntrack{.state = "new", .original = {}, .reply = {}};
  EXPECT_THAT(keys(state.advance(first)), IsEmpty());
  TraceEvent bare = event();
  bare.device = {};
  EXPECT_THAT(keys(state.advance(bare)), IsEmpty());
  ASSERT_NE(state.packet(), nullptr);
  TraceEvent routed = first;
  routed.packet->bytes[8] = std::byte{62};
  routed.device = {{8, "host"}, IfIndex{2}, "eth0"};
  routed.ct->state = "established";
  // The device has another namespace but the same name: one change, not two.
  EXPECT_THAT(keys(state.advance(routed)), ElementsAre("ct_state", "netns", "ttl"));
  EXPECT_EQ(state.packet()->ip->ttl, 62);
  EXPECT_EQ(state.device().netns.name, "host");
}

}  // namespace
}  // namespace weir::model
