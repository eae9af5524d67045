// The lab on paper: options, blueprints, frames and histograms, none of which needs a kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "lab/draft.h"
#include "lab/scenarios.h"
#include "lab/traffic/frame.h"
#include "lab/traffic/latency.h"

namespace weir::lab {
namespace {

using ::testing::HasSubstr;

Options four_cpus() {
  Options options;
  options.cpus = 4;
  return options;
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

TEST(LabOptions, NamesDevicesInSeries) {
  EXPECT_EQ(series_name("nic0", 2), "nic2");
  EXPECT_EQ(series_name("ens5f9", 1), "ens5f10");
  EXPECT_EQ(series_name("uplink", 0), "uplink");
  EXPECT_EQ(series_name("uplink", 1), "uplink1");
}

TEST(LabOptions, ReadsRates) {
  EXPECT_EQ(*parse_rate_bps("50mbit"), 50'000'000U);
  EXPECT_EQ(*parse_rate_bps("1gbit"), 1'000'000'000U);
  for (const char* bad : {"", "50", "mbit", "50mb", "-1mbit", "1.5mbit", "0mbit", "999999999999gbit", "1bit"}) {
    const auto rate = parse_rate_bps(bad);
    ASSERT_FALSE(rate) << bad;
    EXPECT_EQ(rate.error().code, Errc::usage);
  }
}

TEST(LabOptions, RefusesWrongValuesByName) {
  struct Case {
    const char* named;
    void (*spoil)(Options&);
  };
  const std::vector<Case> cases{
      {"--queues", [](Options& o) { o.queues = 1; }},
      {"--queues", [](Options& o) { o.queues = 65; }},
      {"--pods", [](Options& o) { o.pods = 0; }},
      {"--nics", [](Options& o) { o.nics = 9; }},
      {"--flows", [](Options& o) { o.flows = 1'000'000; }},
      {"--pps", [](Options& o) { o.pps = 1'000'000'000; }},
      {"--mq-tbf", [](Options& o) { o.mq_tbf = "fast"; }},
      {"--prefix", [](Options& o) { o.prefix = "../x"; }},
      {"--prefix", [](Options& o) { o.prefix = ""; }},
      {"--nic-name", [](Options& o) { o.nic_name = "a-name-of-sixteen"; }},
      {"--nic-name", [](Options& o) { o.nic_name = "eth 0"; }},
      {"--port-name", [](Options& o) { o.port_name = "nic4"; }},
      {"--pod-queues", [](Options& o) { o.pod_queues = 2; }},  // has no meaning in `healthy`
  };
  for (const Case& spoilt : cases) {
    Options options = four_cpus();
    spoilt.spoil(options);
    const auto blueprint = draw("healthy", options);
    ASSERT_FALSE(blueprint) << spoilt.named;
    EXPECT_EQ(blueprint.error().code, Errc::usage);
    EXPECT_THAT(blueprint.error().message, HasSubstr(spoilt.named));
  }
}

TEST(LabScenarios, UnknownNameSuggestsTheNearest) {
  const auto blueprint = draw("tx-colapse-tap", four_cpus());
  ASSERT_FALSE(blueprint);
  EXPECT_EQ(blueprint.error().code, Errc::usage);
  EXPECT_THAT(blueprint.error().hint, HasSubstr("tx-collapse-tap"));
}

TEST(LabScenarios, NamesAreUniqueAndTruthsAreOneSentence) {
  std::set<std::string_view> names;
  for (const Scenario& scenario : scenarios()) {
    EXPECT_TRUE(names.insert(scenario.name).second) << scenario.name;
    EXPECT_EQ(scenario.truth.find('.'), scenario.truth.size() - 1) << scenario.truth;
  }
}

/// Whatever is asked for, a blueprint is whole: devices in namespaces that exist, distinct names, shares that add up.
void check_whole(const Blueprint& blueprint) {
  std::set<std::string> namespaces;
  for (const NamespacePlan& netns : blueprint.namespaces) EXPECT_TRUE(namespaces.insert(netns.name).second);
  std::set<std::string> devices;
  for (const DevicePlan& device : blueprint.devices) {
    EXPECT_TRUE(namespaces.contains(device.netns));
    EXPECT_TRUE(devices.insert(device.netns + "/" + device.dev).second) << device.dev;
  }
  const Expectation& expect = blueprint.expect;
  if (!expect.tx_shares.empty()) {
    EXPECT_EQ(expect.tx_shares.size(), blueprint.options.queues);
    EXPECT_NEAR(sum(expect.tx_shares), 1, 1e-9);
  }
  EXPECT_EQ(expect.findings.empty(), expect.causes.empty());
  EXPECT_EQ(expect.findings.empty(), expect.subject.empty());
  EXPECT_TRUE(expect.subject.empty() || devices.contains(expect.subject)) << expect.subject;
  EXPECT_TRUE(expect.culprit.empty() || devices.contains(expect.culprit)) << expect.culprit;
  for (const TrafficPlan& traffic : blueprint.traffic) EXPECT_TRUE(namespaces.contains(traffic.netns));
  std::set<std::string> journeys;
  for (const ExpectedJourney& journey : blueprint.journeys) {
    EXPECT_TRUE(journeys.insert(journey.name).second) << journey.name;
    EXPECT_TRUE(namespaces.contains(journey.from));
    EXPECT_FALSE(journey.path.empty());
    for (const std::string& dev : journey.path) EXPECT_TRUE(devices.contains(dev)) << dev;
    EXPECT_TRUE(!journey.drop || journey.path.back().starts_with(journey.drop->netns + "/")) << journey.name;
  }
}

TEST(LabScenarios, EveryCombinationIsWhole) {
  for (const Scenario& scenario : scenarios()) {
    if (scenario.journeys) continue;
    for (const unsigned queues : {3U, 4U, 64U}) {
      for (const unsigned many : {1U, 3U}) {
        for (const Path path : {Path::routed, Path::bridged}) {
          Options options = four_cpus();
          options.queues = queues;
          options.pods = options.nics = many;
          options.path = path;
          options.family = many == 1 ? Family::v4 : Family::v6;
          options.l4 = queues == 3 ? L4::tcp : L4::udp;
          options.host_traffic = options.latency = many == 3;
          SCOPED_TRACE(scenario.name);
          const auto blueprint = draw(scenario.name, options);
          ASSERT_TRUE(blueprint) << blueprint.error().message;
          check_whole(*blueprint);
        }
      }
    }
  }
}

TEST(LabScenarios, EveryNetworkForJourneysIsWhole) {
  for (const Scenario& scenario : scenarios()) {
    if (!scenario.journeys) continue;
    SCOPED_TRACE(scenario.name);
    for (const Family family : {Family::v4, Family::v6}) {
      Options options = four_cpus();
      options.family = family;
      options.nic_name = "ens5f0np0";
      options.port_name = "cali7f";
      options.pps = 7;
      options.flows = 16;
      const auto blueprint = draw(scenario.name, options);
      if (scenario.name == "rp-filter" && family == Family::v6) {
        EXPECT_EQ(blueprint.error().code, Errc::usage);
        continue;
      }
      ASSERT_TRUE(blueprint) << blueprint.error().message;
      check_whole(*blueprint);
      EXPECT_FALSE(blueprint->journeys.empty());
      EXPECT_EQ(to_json(*blueprint)["journeys"].size(), blueprint->journeys.size());
    }
  }
}

TEST(LabScenarios, AJourneyKnowsWhatBecomesOfAPacket) {
  const auto document = to_json(*draw("nft-drop", four_cpus()))["journeys"];
  const auto& dropped = document.back();
  EXPECT_EQ(dropped["name"], "dropped-tcp");
  EXPECT_EQ(dropped["path"], (nlohmann::ordered_json{"weir-pod/eth0", "weir-host/pv0"}));
  EXPECT_EQ(dropped["drop"]["netns"], "weir-host");
  EXPECT_EQ(dropped["drop"]["reasons"], nlohmann::ordered_json{"NETFILTER_DROP"});
  EXPECT_EQ(dropped["drop"]["rule_comment"], "weir-lab drop");
  EXPECT_TRUE(document.front()["drop"].is_null());
  const auto nat = to_json(*draw("nat", four_cpus()))["journeys"];
  EXPECT_EQ(nat[0]["destination"], "10.96.0.10");
  EXPECT_EQ(nat[0]["destination_at_end"], "10.99.200.2");
  EXPECT_EQ(nat[0]["source_at_end"], "10.99.200.1");
}

TEST(LabScenarios, ASmallNetworkRefusesWhatItHasNoUseFor) {
  struct Case {
    const char* named;
    void (*give)(Options&);
  };
  const std::vector<Case> cases{{"--queues", [](Options& o) { o.queues = 8; }},
                                {"--pods", [](Options& o) { o.pods = 2; }},
                                {"--nics", [](Options& o) { o.nics = 2; }},
                                {"--pod-queues", [](Options& o) { o.pod_queues = 2; }},
                                {"--l4", [](Options& o) { o.l4 = L4::tcp; }},
                                {"--path", [](Options& o) { o.path = Path::routed; }},
                                {"--host-traffic", [](Options& o) { o.host_traffic = true; }},
                                {"--latency", [](Options& o) { o.latency = true; }},
                                {"--mq-tbf", [](Options& o) { o.mq_tbf = "50mbit"; }}};
  for (const Case& useless : cases) {
    Options options = four_cpus();
    useless.give(options);
    const auto blueprint = draw("nat", options);
    ASSERT_FALSE(blueprint) << useless.named;
    EXPECT_EQ(blueprint.error().code, Errc::usage);
    EXPECT_THAT(blueprint.error().message, HasSubstr(useless.named));
  }
}

TEST(LabScenarios, ATunnelIsRefusedWhereItHidesTheFault) {
  Options options = four_cpus();
  options.path = Path::vxlan;
  EXPECT_TRUE(draw("healthy", options));
  EXPECT_TRUE(draw("nic-xps", options));
  EXPECT_FALSE(draw("tx-collapse-tap", options));
  EXPECT_FALSE(draw("tx-skew-multiqueue-veth", options));
}

TEST(LabScenarios, FlagshipExpectsTheTap) {
  const auto blueprint = draw("tx-collapse-tap", four_cpus());
  ASSERT_TRUE(blueprint);
  const auto document = to_json(*blueprint);
  EXPECT_EQ(document["schema"], "weir.lab/1");
  EXPECT_EQ(document["namespaces"], (nlohmann::ordered_json{{"host", "weir-host"}, {"wire", "weir-wire"}}));
  EXPECT_EQ(document["expect"]["finding"], "tx-queue-collapse");
  EXPECT_EQ(document["expect"]["causes"], nlohmann::ordered_json{"recorded-rx-queue"});
  EXPECT_EQ(document["expect"]["culprit"], "weir-host/tap0");
}

TEST(LabScenarios, HealthyExpectsNothing) {
  const auto document = to_json(*draw("healthy", four_cpus()));
  EXPECT_TRUE(document["expect"]["finding"].is_null());
  EXPECT_TRUE(document["expect"]["culprit"].is_null());
}

TEST(LabShares, MultiqueueVethFollowsTheKernelsRules) {
  EXPECT_EQ(multiqueue_veth_shares(4, 4), (std::vector<double>{0.5, 0.25, 0.25, 0}));
  EXPECT_EQ(multiqueue_veth_shares(2, 4), (std::vector<double>{0.75, 0.25, 0, 0}));
  EXPECT_EQ(multiqueue_veth_shares(2, 2), (std::vector<double>{1, 0}));
  for (const unsigned pod_queues : {2U, 3U, 7U, 64U}) EXPECT_NEAR(sum(multiqueue_veth_shares(pod_queues, 5)), 1, 1e-9);
}

TEST(LabScenarios, MasksAreGroupedAsTheKernelReadsThem) {
  EXPECT_EQ(cpu_mask({0, 1}), "3");
  EXPECT_EQ(cpu_mask({0, 33}), "00000002,00000001");
  EXPECT_EQ(cpu_mask({}), "0");
}

FrameFields fields_v4() {
  return {.source_mac = "02:00:00:00:00:01",
          .destination_mac = "02:00:00:00:00:02",
          .source = "10.0.0.1",
          .destination = "10.0.0.2",
          .source_port = 20'000,
          .destination_port = 9,
          .l4 = L4::udp,
          .payload_bytes = 33};
}

/// A receiver adds everything the sender covered, checksum included, and gets 0xffff before complementing.
void check_transport_sum(const std::vector<std::uint8_t>& frame, std::size_t addresses_at, std::size_t addresses_size,
                         std::size_t segment_at, std::uint8_t protocol) {
  std::uint32_t all = checksum_add(frame.data() + addresses_at, addresses_size, 0);
  all += protocol + static_cast<std::uint32_t>(frame.size() - segment_at);
  EXPECT_EQ(checksum_finish(checksum_add(frame.data() + segment_at, frame.size() - segment_at, all)), 0);
}

TEST(LabFrame, ChecksumsHoldInEveryFamilyAndProtocol) {
  for (const L4 l4 : {L4::udp, L4::tcp}) {
    for (const unsigned payload : {0U, 1U, 33U, 1400U}) {
      FrameFields fields = fields_v4();
      fields.l4 = l4;
      fields.payload_bytes = payload;
      const std::uint8_t protocol = l4 == L4::udp ? 17 : 6;
      const auto v4 = make_frame(fields);
      ASSERT_TRUE(v4);
      EXPECT_EQ(checksum_finish(checksum_add(v4->data() + 14, 20, 0)), 0);
      check_transport_sum(*v4, 26, 8, 34, protocol);
      fields.source = "fd00::1";
      fields.destination = "fd00::2";
      const auto v6 = make_frame(fields);
      ASSERT_TRUE(v6);
      check_transport_sum(*v6, 22, 32, 54, protocol);
    }
  }
}

TEST(LabFrame, RefusesWhatIsNoAddress) {
  FrameFields fields = fields_v4();
  fields.destination = "fd00::2";  // of the other family
  EXPECT_FALSE(make_frame(fields));
  fields = fields_v4();
  fields.source_mac = "02:00:00:00:00";
  EXPECT_FALSE(make_frame(fields));
  fields.source_mac = "02:00:00:00:00:100";
  EXPECT_FALSE(make_frame(fields));
}

TEST(LabLatency, PercentilesAreWithinOneBucket) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.percentile(0.5).count(), 0);
  for (int i = 1; i <= 1000; ++i) histogram.add(std::chrono::microseconds(i));
  EXPECT_EQ(histogram.count(), 1000U);
  EXPECT_NEAR(static_cast<double>(histogram.percentile(0.5).count()), 500e3, 500e3 / 32);
  EXPECT_NEAR(static_cast<double>(histogram.percentile(0.99).count()), 990e3, 990e3 / 32);
  EXPECT_NEAR(static_cast<double>(histogram.percentile(1).count()), 1000e3, 1000e3 / 32);
}

TEST(LabLatency, TakesEveryDuration) {
  LatencyHistogram histogram;
  histogram.add(std::chrono::nanoseconds(-5));
  histogram.add(std::chrono::nanoseconds::max());
  EXPECT_EQ(histogram.count(), 2U);
  EXPECT_EQ(histogram.percentile(0.5).count(), 0);
  EXPECT_EQ(histogram.percentile(1), std::chrono::nanoseconds::max());
}

}  // namespace
}  // namespace weir::lab
