// Every recipe does to the kernel what it claims: packets per queue are read from the leaves of an mq qdisc, which
// counts them without any help from BPF.
#include "support/lab.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "support/process.h"

namespace weir {
namespace {

using lab::Family;
using lab::L4;
using lab::Options;
using lab::Path;
using test::eventually;
using test::TrafficLab;

/// Packets of each transmit queue so far; empty when the device has no mq qdisc.
std::vector<double> leaf_packets(const std::string& netns, const std::string& dev) {
  const test::Outcome shown = test::run({"tc", "-n", netns, "-s", "-j", "qdisc", "show", "dev", dev});
  std::map<std::uint64_t, double> by_queue;
  for (const auto& qdisc : nlohmann::json::parse(shown.out)) {
    if (!qdisc.contains("parent")) continue;
    const std::string parent = qdisc["parent"];
    by_queue[parse_u64(parent.substr(parent.find(':') + 1), 16).value_or(0)] = qdisc["packets"];
  }
  std::vector<double> packets;
  for (const auto& [queue, count] : by_queue) packets.push_back(count);
  return packets;
}

/// Shares of the uplink's queues over the next `wanted` packets; empty when they do not come.
std::vector<double> watch_shares(TrafficLab& lab, double wanted = 12'000) {
  const std::string& netns = lab.netns("host");
  const std::string& dev = lab.lab().blueprint().options.nic_name;
  EXPECT_EQ(test::run({"tc", "-n", netns, "qdisc", "add", "dev", dev, "root", "handle", "1:", "mq"}).code, 0);
  const std::vector<double> before = leaf_packets(netns, dev);
  std::vector<double> shares;
  const bool enough = eventually([&] {
    shares = leaf_packets(netns, dev);
    double all = 0;
    for (std::size_t i = 0; i < shares.size(); ++i) all += shares[i] -= before.at(i);
    for (double& share : shares) share /= std::max(1.0, all);
    return all >= wanted;
  });
  return enough ? shares : std::vector<double>{};
}

double effective_ratio(const std::vector<double>& shares) {
  double squares = 0;
  for (const double share : shares) squares += share * share;
  return 1 / squares / static_cast<double>(shares.size());
}

struct Recipe {
  const char* scenario;
  const char* axis;  ///< what is varied, for the test's name
  Options options;
};

std::ostream& operator<<(std::ostream& out, const Recipe& recipe) {
  return out << recipe.scenario << ' ' << recipe.axis;
}

class LabRecipe : public testing::TestWithParam<Recipe> {};

TEST_P(LabRecipe, QueuesAreUsedAsExpected) {
  WEIR_NEED_ROOT();
  TrafficLab lab(GetParam().scenario, GetParam().options);
  ASSERT_TRUE(lab.ok()) << lab.why();
  const std::vector<double> shares = watch_shares(lab);
  ASSERT_EQ(shares.size(), lab.lab().blueprint().options.queues);
  const std::vector<double>& expected = lab.expect().tx_shares;
  // Where packets follow their hashes, the shares of a few hundred flows scatter around the mean.
  for (std::size_t queue = 0; queue < expected.size(); ++queue) {
    const double scatter = expected[queue] == 0 || expected[queue] == 1 ? 0.005 : 0.12;
    EXPECT_NEAR(shares[queue], expected[queue], scatter) << "queue " << queue;
  }
  EXPECT_EQ(effective_ratio(shares) < 0.8, !lab.expect().findings.empty()) << effective_ratio(shares);
}

std::string recipe_name(const testing::TestParamInfo<Recipe>& info) {
  std::string name = std::string(info.param.scenario) + "_" + info.param.axis;
  std::ranges::replace_if(
      name, [](unsigned char letter) { return std::isalnum(letter) == 0; }, '_');
  return name;
}

Options with(void (*change)(Options&)) {
  Options options;
  change(options);
  return options;
}

const std::vector<Recipe> kRecipes{
    {"healthy", "A", {}},
    {"tx-collapse-injected", "B", {}},
    {"tx-collapse-pod-xps", "C", {}},
    {"tx-skew-multiqueue-veth", "D", {}},
    {"tx-skew-multiqueue-veth", "E", with([](Options& o) { o.pod_queues = 2; })},
    {"tx-collapse-tap", "F", {}},
    {"nic-xps", "G", {}},
    {"one-active-cpu", "H", {}},
    {"veth-gro", "I", {}},
    {"single-flow", "", {}},
    {"few-flows", "", {}},
    {"tap-multiqueue", "", {}},
    {"healthy", "bridged v6 tcp", with([](Options& o) {
       o.path = Path::bridged;
       o.family = Family::v6;
       o.l4 = L4::tcp;
     })},
    {"healthy", "vxlan v6", with([](Options& o) {
       o.path = Path::vxlan;
       o.family = Family::v6;
     })},
    {"healthy", "vxlan tcp 2 nics", with([](Options& o) {
       o.path = Path::vxlan;
       o.l4 = L4::tcp;
       o.nics = 2;
     })},
    {"healthy", "64 queues", with([](Options& o) { o.queues = 64; })},
    {"tx-collapse-tap", "routed v6 tcp", with([](Options& o) {
       o.path = Path::routed;
       o.family = Family::v6;
       o.l4 = L4::tcp;
     })},
    {"tx-collapse-tap", "3 pods and host", with([](Options& o) {
       o.pods = 3;
       o.host_traffic = true;
     })},
    {"tx-collapse-pod-xps", "bridged v6", with([](Options& o) {
       o.path = Path::bridged;
       o.family = Family::v6;
     })},
    {"tx-collapse-injected", "2 queues, other names, 2 nics", with([](Options& o) {
       o.queues = 2;
       o.nics = 2;
       o.nic_name = "ens5f0np0";
       o.port_name = "cali7f";
     })},
    {"tx-collapse-injected", "64 queues tcp", with([](Options& o) {
       o.queues = 64;
       o.l4 = L4::tcp;
     })},
    {"nic-xps", "64 queues vxlan", with([](Options& o) {
       o.queues = 64;
       o.path = Path::vxlan;
     })},
    {"one-active-cpu", "tcp, host too", with([](Options& o) {
       o.l4 = L4::tcp;
       o.host_traffic = true;
     })},
};

INSTANTIATE_TEST_SUITE_P(Lab, LabRecipe, testing::ValuesIn(kRecipes), recipe_name);

/// What the wire receives in `span`, in bits a second.
double delivered_bps(TrafficLab& lab, std::chrono::seconds span) {
  const auto first = lab.lab().report();
  EXPECT_TRUE(first);
  auto second = first;
  EXPECT_TRUE(eventually([&] { return (second = lab.lab().report())->duration - first->duration >= span; }));
  const double seconds = std::chrono::duration<double>(second->duration - first->duration).count();
  return 8 * static_cast<double>(second->delivered_bytes - first->delivered_bytes) / seconds;
}

TEST(LabThroughput, ACollapseCostsThreeQuarters) {
  WEIR_NEED_ROOT();
  Options options;
  options.l4 = L4::tcp;
  options.mq_tbf = "50mbit";
  std::map<std::string, double> bps;
  for (const char* scenario : {"healthy", "tx-collapse-injected"}) {
    TrafficLab lab(scenario, options);
    ASSERT_TRUE(lab.ok()) << lab.why();
    bps[scenario] = delivered_bps(lab, std::chrono::seconds(3));
  }
  EXPECT_NEAR(bps["tx-collapse-injected"], 50e6, 10e6);
  EXPECT_GE(bps["healthy"] / bps["tx-collapse-injected"], 3);
}

TEST(LabReport, TimesRequestsBesideTheTraffic) {
  WEIR_NEED_ROOT();
  TrafficLab lab("healthy", with([](Options& o) {
                   o.latency = true;
                   o.host_traffic = true;
                 }));
  ASSERT_TRUE(lab.ok()) << lab.why();
  lab::SenderReport probe;
  EXPECT_TRUE(eventually([&] {
    for (const lab::SenderReport& sender : lab.lab().report()->senders) {
      if (sender.kind == lab::TrafficKind::request_response) probe = sender;
    }
    return probe.packets >= 20;
  }));
  EXPECT_GT(probe.p50.count(), 0);
  EXPECT_LE(probe.p50, probe.p99);
  EXPECT_LT(probe.p50, std::chrono::milliseconds(100));
}

TEST(LabTraffic, SaysWhyItCannotFlow) {
  WEIR_NEED_ROOT();
  TrafficLab lab("healthy", {}, false);
  ASSERT_TRUE(lab.ok()) << lab.why();
  ASSERT_EQ(test::run({"ip", "-n", lab.netns("host"), "link", "set", "nic0", "down"}).code, 0);
  const auto started = lab.lab().start_traffic(std::chrono::milliseconds(500));
  ASSERT_FALSE(started);
  EXPECT_FALSE(started.error().message.empty());
}

}  // namespace
}  // namespace weir
