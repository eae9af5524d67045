// Flows and their ledger as documents and as text.
#include "model/flow.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/elephant.h"
#include "model/flow_json.h"

namespace weir::model {
namespace {

FlowTuple tuple4() {
  return {.source = {10, 0, 0, 1},
          .destination = {10, 0, 0, 2},
          .source_port = 4711,
          .destination_port = 80,
          .ethertype = 0x0800,
          .protocol = 6};
}

FlowTuple tuple6() {
  FlowTuple tuple = tuple4();
  tuple.ethertype = 0x86dd;
  tuple.protocol = 17;
  tuple.source = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return tuple;
}

TEST(FlowTupleTest, IsWrittenAsPeopleDo) {
  EXPECT_EQ(to_string(tuple4()), "10.0.0.1:4711 > 10.0.0.2:80");
  EXPECT_EQ(to_string(tuple4().reversed()), "10.0.0.2:80 > 10.0.0.1:4711");
  EXPECT_EQ(to_string(tuple6()), "[2001:db8::1]:4711 > [a00:2::]:80");
  FlowTuple ping = tuple4();
  ping.source_port = ping.destination_port = 0;
  ping.protocol = 1;
  EXPECT_EQ(to_string(ping), "10.0.0.1 > 10.0.0.2");
  EXPECT_EQ(protocol_text(ping), "icmp");
  EXPECT_EQ(to_string(FlowTuple{.source = {}, .destination = {}, .ethertype = 0x0806}), "arp");
  EXPECT_EQ(to_string(FlowTuple{.source = {}, .destination = {}, .ethertype = 0x88cc}), "0x88cc");
}

TEST(FlowNatTest, TellsARewriteFromAPlainConnection) {
  FlowNat nat{.original = tuple4(), .reply = tuple4().reversed()};
  EXPECT_FALSE(nat.rewrites());
  nat.reply.source = {10, 9, 9, 9};
  EXPECT_TRUE(nat.rewrites());
}

TEST(FlowJsonTest, HasTheKeysThatOthersRelyOn) {
  Flow flow;
  flow.key = {.netns = 7, .ifindex = 3, .direction = FlowDirection::rx, .vlan = 42, .tuple = tuple4()};
  flow.device = {.netns = {7, "pod"}, .ifindex = IfIndex{3}, .name = "eth\"0"};
  flow.total = {.bytes = 1500, .packets = 2, .wire_packets = 3};
  flow.window = {.bytes = 500, .packets = 1, .wire_packets = 1};
  flow.rate_bps = 1e6;
  flow.flow_class = FlowClass::elephant;
  flow.workload = WorkloadRef{.kind = "container", .name = "docker-1a2b", .id = "1a2b", .pod = {}, .runtime = {}};
  const auto json = nlohmann::json::parse(flow_line(flow, {}));
  for (const char* key : {"schema",       "netns",      "dev",       "direction", "family", "protocol", "src",
                          "sport",        "dst",        "dport",     "nat",       "vlan",   "packets",  "bytes",
                          "wire_packets", "first_seen", "last_seen", "rate_bps",  "class",  "workload"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_EQ(json["schema"], "weir.flow/1");
  EXPECT_EQ(json["dev"], "eth\"0");
  EXPECT_EQ(json["direction"], "rx");
  EXPECT_EQ(json["bytes"], 500);
  EXPECT_EQ(json["total_bytes"], 1500);
  EXPECT_EQ(json["vlan"], 42);
  EXPECT_TRUE(json["nat"].is_null());
  EXPECT_EQ(json["workload"]["name"], "docker-1a2b");
}

TEST(LedgerTest, SaysWhatIsNotExplained) {
  FlowWindow window;
  window.ledger.lines = {{.device = {},
                          .direction = FlowDirection::tx,
                          .accounted_bytes = 90,
                          .overflow_bytes = 5,
                          .interface_bytes = 100},
                         {.device = {},
                          .direction = FlowDirection::rx,
                          .accounted_bytes = 60,
                          .overflow_bytes = 0,
                          .interface_bytes = 50}};
  EXPECT_EQ(window.ledger.lines[0].unattributed_bytes(), 5);
  EXPECT_EQ(window.ledger.lines[1].unattributed_bytes(), -10);
  const auto json = nlohmann::json::parse(ledger_line(window));
  EXPECT_EQ(json["schema"], "weir.ledger/1");
  EXPECT_EQ(json["accounted_bytes"], 150);
  EXPECT_EQ(json["interface_bytes"], 150);
  EXPECT_EQ(json["unattributed_bytes"], -5);
  EXPECT_EQ(json["devices"].size(), 2U);
}

/// Packets of `bytes` every `gap` for `length`; when the flow became an elephant, if it did.
std::optional<std::chrono::nanoseconds> promotion(ElephantJudge& judge, std::uint64_t bytes,
                                                  std::chrono::nanoseconds gap, std::chrono::nanoseconds length) {
  for (std::chrono::nanoseconds time{}; time <= length; time += gap) {
    if (judge.take({}, time, bytes)) return time;
  }
  return std::nullopt;
}

TEST(ElephantJudgeTest, WantsBytesAndARateThatIsKeptUp) {
  using namespace std::chrono_literals;
  ElephantJudge steady;  // 12 Mbit/s: 1 MiB after 0.7 s
  const auto when = promotion(steady, 1500, 1ms, 5s);
  ASSERT_TRUE(when);
  EXPECT_NEAR(static_cast<double>(when->count()), 699e6, 2e6);
  ElephantJudge slow;  // 8 Mbit/s for a minute
  EXPECT_FALSE(promotion(slow, 1000, 1ms, 60s));
  ElephantJudge fast;  // 1 MiB in 10 ms: the rate must be kept up for 100
  const auto soon = promotion(fast, 15'000, 100us, 1s);
  ASSERT_TRUE(soon);
  EXPECT_EQ(*soon, 100ms);
  ElephantJudge bursts;  // 30 kB each second
  EXPECT_FALSE(promotion(bursts, 30'000, 1s, 300s));
}

TEST(ElephantJudgeTest, StopsBelowHalfOfTheRate) {
  using namespace std::chrono_literals;
  ElephantJudge judge;
  ASSERT_TRUE(promotion(judge, 1500, 1ms, 5s));
  std::chrono::nanoseconds time = 1s;
  for (; time < 20s && judge.take({}, time, 1000); time += 1ms) {
  }
  EXPECT_EQ(time, 20s) << "8 Mbit/s is enough to stay one";
  for (; time < 40s && judge.take({}, time, 100); time += 1ms) {
  }
  EXPECT_LT(time, 31s) << "0.8 Mbit/s is not";
}

}  // namespace
}  // namespace weir::model
