// Footprints: each byte once, horizons, the vector against exact values, and the document.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/footprint_builder.h"
#include "model/footprint_json.h"
#include "unit/footprint_traffic.h"

namespace weir::model {
namespace {

using std::chrono::seconds;

Flow flow_on(std::uint64_t netns, std::uint32_t ifindex, FlowDirection direction, std::uint64_t bytes) {
  Flow flow;
  flow.key = {.netns = netns,
              .ifindex = ifindex,
              .direction = direction,
              .vlan = 0,
              .tuple = {.source = {10, 0, 0, 1},
                        .destination = {10, 0, 0, 2},
                        .source_port = 4711,
                        .destination_port = 80,
                        .ethertype = 0x0800,
                        .protocol = 6}};
  flow.window = {.bytes = bytes, .packets = 10, .wire_packets = 10};
  flow.total = flow.window;
  flow.rate_bps = static_cast<double>(bytes) * 8;
  flow.workload = WorkloadRef{.kind = "container", .name = "web", .id = "1a2b", .pod = {}, .runtime = {}};
  return flow;
}

FlowWindow window_of(std::vector<Flow> flows, std::chrono::nanoseconds length = seconds(1)) {
  FlowWindow window;
  window.duration = length;
  window.flows = std::move(flows);
  return window;
}

/// Namespace 7 is the workload's; device 20 of the host leads to it; others are farther away.
FlowSide side_of(const Flow& flow) {
  if (flow.key.netns == 7) return FlowSide::inside;
  return flow.key.ifindex == 20 ? FlowSide::port : FlowSide::passing;
}

std::map<FlowDirection, std::uint64_t> bytes_of(const FootprintBuilder& builder) {
  std::map<FlowDirection, std::uint64_t> bytes;
  for (const WorkloadFootprint& one : builder.footprints()) bytes[one.key.direction] += one.horizons.front().bytes;
  return bytes;
}

TEST(FootprintBuilderTest, CountsEachByteOnceAtTheNearestDevice) {
  using enum FlowDirection;
  FootprintBuilder builder({.side = side_of, .image = {}});
  builder.feed(window_of({flow_on(7, 2, tx, 1000), flow_on(1, 20, rx, 1000), flow_on(1, 3, tx, 1040)}));
  EXPECT_EQ(bytes_of(builder), (std::map<FlowDirection, std::uint64_t>{{tx, 1000}}));
}

TEST(FootprintBuilderTest, TurnsTheDirectionOfAPort) {
  using enum FlowDirection;
  FootprintBuilder builder({.side = side_of, .image = {}});
  builder.feed(window_of({flow_on(1, 20, rx, 1000), flow_on(1, 20, tx, 300)}));
  EXPECT_EQ(bytes_of(builder), (std::map<FlowDirection, std::uint64_t>{{tx, 1000}, {rx, 300}}));
}

TEST(FootprintBuilderTest, RecognisesAConnectionBehindNat) {
  Flow inside = flow_on(7, 2, FlowDirection::tx, 1000);
  Flow outside = flow_on(1, 3, FlowDirection::tx, 1000);
  const FlowTuple original = inside.key.tuple;
  outside.key.tuple.source = {192, 0, 2, 1};
  outside.key.tuple.source_port = 999;
  outside.nat = FlowNat{.original = original, .reply = outside.key.tuple.reversed()};
  FootprintBuilder builder({.side = side_of, .image = {}});
  builder.feed(window_of({inside, outside}));
  EXPECT_EQ(bytes_of(builder).at(FlowDirection::tx), 1000U);
}

TEST(FootprintBuilderTest, ForgetsNothingWhenOnlyAFartherDeviceIsInAWindow) {
  using enum FlowDirection;
  FootprintBuilder builder({.side = side_of, .image = {}});
  builder.feed(window_of({flow_on(7, 2, tx, 1000)}));
  builder.feed(window_of({flow_on(1, 3, tx, 1000)}));  // the last packets of the window before, seen later
  EXPECT_EQ(bytes_of(builder).at(tx), 1000U);
}

TEST(FootprintBuilderTest, CountsOneOfTwoDevicesThatAreEquallyNear) {
  using enum FlowDirection;
  FootprintBuilder builder({.side = side_of, .image = {}});
  for (int i = 0; i < 5; ++i) builder.feed(window_of({flow_on(7, 2, tx, 1000), flow_on(7, 9, tx, 1000)}));
  EXPECT_EQ(bytes_of(builder).at(tx), 5000U);
}

TEST(FootprintBuilderTest, KeepsImagesBesideInstances) {
  FootprintBuilder builder({.side = {}, .image = [](const WorkloadRef&) { return std::string("nginx"); }});
  Flow second = flow_on(8, 2, FlowDirection::tx, 500);
  second.workload->id = "other";
  builder.feed(window_of({flow_on(7, 2, FlowDirection::tx, 1000), second}));
  const auto prints = builder.footprints();
  ASSERT_EQ(prints.size(), 3U);
  for (const WorkloadFootprint& print : prints) {
    const std::uint64_t expected = print.key.kind == "image" ? 1500 : print.key.id == "other" ? 500 : 1000;
    EXPECT_EQ(print.horizons.front().bytes, expected);
  }
}

TEST(FootprintBuilderTest, RollsItsHorizons) {
  FootprintBuilder builder;
  for (int i = 0; i < 4500; ++i) {
    builder.feed(window_of({flow_on(7, 2, FlowDirection::tx, i < 4400 ? 1000 : 5000)}));
  }
  const auto prints = builder.footprints();
  ASSERT_EQ(prints.size(), 1U);
  ASSERT_EQ(prints[0].horizons.size(), 4U);
  const std::array<double, 4> lengths{10, 60, 3600, 4500};
  for (std::size_t i = 0; i < 4; ++i) {
    const Footprint& print = prints[0].horizons[i];
    const double span = std::chrono::duration<double>(print.span).count();
    const double bucket = i == 3 ? 0 : static_cast<double>(kFootprintHorizons[i].bucket.count());
    EXPECT_GE(span, lengths[i]) << print.horizon;
    EXPECT_LE(span, lengths[i] + bucket) << print.horizon;
    EXPECT_EQ(print.windows, static_cast<std::uint64_t>(span));
  }
  EXPECT_NEAR(prints[0].horizons[0].throughput_bps.p50, 40000, 400);
  EXPECT_NEAR(prints[0].horizons[2].throughput_bps.p50, 8000, 80);
  EXPECT_EQ(prints[0].horizons[3].bytes, 4400U * 1000 + 100 * 5000);
  EXPECT_NEAR(prints[0].horizons[3].throughput_bps.p99, 40000, 400);
}

TEST(FootprintBuilderTest, FillsTheVector) {
  FootprintBuilder builder;
  Flow first = flow_on(7, 2, FlowDirection::tx, 3000);
  first.tcp = FlowTcp{.srtt_us = 250, .retransmits = 5};
  Flow second = flow_on(7, 2, FlowDirection::tx, 1000);
  second.key.tuple.destination = {10, 0, 0, 3};
  builder.feed(window_of({first, second}));
  first.tcp->retransmits = 7;
  first.total.bytes = 6000;
  builder.feed(window_of({first}));
  for (int i = 0; i < 6; ++i) builder.feed(window_of({}));
  const auto prints = builder.footprints();
  ASSERT_EQ(prints.size(), 1U);
  const Footprint& print = prints[0].horizons.at(0);
  EXPECT_EQ(prints[0].age, seconds(6));
  EXPECT_EQ(print.windows, 8U);
  EXPECT_EQ(print.bytes, 7000U);
  EXPECT_EQ(print.packets, 30U);
  EXPECT_DOUBLE_EQ(print.mean_bps, 7000);
  EXPECT_EQ(print.throughput_bps.max, 32000);
  EXPECT_NEAR(print.peers, 2, 0.01);
  EXPECT_DOUBLE_EQ(print.top5_share, 1);
  EXPECT_DOUBLE_EQ(print.flow_arrivals_per_s, 2.0 / 8);
  EXPECT_DOUBLE_EQ(print.new_connection_share, 2.0 / 3);
  EXPECT_EQ(print.flows_ended, 2U);
  EXPECT_EQ(print.flow_bytes.max, 6000);
  EXPECT_NEAR(print.srtt_us_p50.value_or(0), 250, 2.5);
  EXPECT_DOUBLE_EQ(print.retransmit_share.value_or(0), 7.0 / 20);
  EXPECT_DOUBLE_EQ(print.bursts.idle_share, 6.0 / 8);
  EXPECT_DOUBLE_EQ(print.small_message_share, 10.0 / 30);
}

TEST(FootprintBuilderTest, KnowsPeersOfThisHost) {
  FootprintBuilder builder;
  Flow there = flow_on(7, 2, FlowDirection::tx, 3000);
  Flow back = flow_on(8, 2, FlowDirection::tx, 100);
  back.key.tuple = there.key.tuple.reversed();
  back.workload->id = "db";
  back.cgroup = 77;
  builder.feed(window_of({there, back}));
  for (const WorkloadFootprint& print : builder.footprints()) {
    EXPECT_DOUBLE_EQ(print.horizons[0].same_host_share, print.key.id == "1a2b" ? 1 : 0);
  }
}

TEST(FootprintBuilderTest, StaysWithinItsBounds) {
  FootprintBuilder builder({.most_workloads = 10, .most_connections = 5, .side = {}, .image = {}});
  for (int i = 0; i < 100; ++i) {
    Flow flow = flow_on(7, 2, FlowDirection::tx, 1000);
    flow.workload->id = std::to_string(i);
    builder.feed(window_of({flow}));
  }
  EXPECT_EQ(builder.footprints().size(), 10U);
}

TEST(FootprintBuilderTest, FindsThePeriodOfBursts) {
  const testing::ScriptedWorkload workload{
      "bursts", FootprintClass::bursty, {{.rate_bps = 50e6, .noise = 0.1, .period_s = 5, .on_s = 1}}};
  testing::TrafficGenerator generator(workload, 1);
  FootprintBuilder builder;
  for (int i = 0; i < 60; ++i) builder.feed(generator.next());
  EXPECT_NEAR(builder.footprints().at(0).horizons[1].bursts.period_s.value_or(0), 5, 0.01);
}

TEST(FootprintJsonTest, HasTheKeysThatOthersRelyOn) {
  FootprintBuilder builder;
  builder.feed(window_of({flow_on(7, 2, FlowDirection::tx, 3000)}));
  const auto json = nlohmann::json::parse(footprint_line(builder.footprints().at(0)));
  EXPECT_EQ(json["schema"], "weir.footprint/1");
  EXPECT_EQ(json["workload"]["name"], "web");
  EXPECT_TRUE(json["workload"]["image"].is_null());
  EXPECT_EQ(json["direction"], "tx");
  for (const char* key : {"class", "class_confidence", "reason", "age_ns"}) EXPECT_TRUE(json.contains(key)) << key;
  ASSERT_EQ(json["horizons"].size(), 1U);
  for (const char* key : {"horizon",
                          "span_ns",
                          "windows",
                          "confidence",
                          "bytes",
                          "wire_packets",
                          "mean_bps",
                          "throughput_bps",
                          "packets_per_s_p95",
                          "mean_packet_bytes",
                          "flow_arrivals_per_s",
                          "concurrent_flows_p95",
                          "flow_size_bytes",
                          "flow_duration_s",
                          "elephant_byte_share",
                          "elephant_flows",
                          "burstiness",
                          "peers",
                          "same_host_share",
                          "top5_peers_share",
                          "srtt_us_p50",
                          "retransmit_share",
                          "small_message_share",
                          "new_connection_share"}) {
    EXPECT_TRUE(json["horizons"][0].contains(key)) << key;
  }
}

}  // namespace
}  // namespace weir::model
