// diagnose() on the lab's hosts: each recipe of the reference and the verdict it must get.
#include "reason/doctor/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/queue_models.h"

namespace weir {
namespace {

using model::Finding;
using model::Severity;
using reason::diagnose;
using test::dev;
using test::equal_flows;
using test::hashed;
using test::LabHost;
using test::observed;
using test::pinned;
using test::QueueRule;
using test::Stream;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr double kPackets = 20000;
constexpr std::uint64_t kSeen = 60000;

LabHost tap_collapse(std::uint32_t queues) {
  LabHost lab(queues);
  lab.host.devices = {observed(
      lab.nic0, queues,
      {pinned(lab.tap0, equal_flows(256, kPackets), 0, QueueRule::recorded), hashed(lab.local, equal_flows(8, 100))})};
  lab.host.devices[0].changes = {{lab.tap0, {"", {}}, {"net:netif_receive_skb", lab.tap0}, 0, 1, kSeen}};
  return lab;
}

std::vector<std::string> culprits(const Finding& finding) {
  std::vector<std::string> names;
  for (const model::Culprit& culprit : finding.culprits) names.push_back(to_string(culprit.device));
  return names;
}

TEST(Doctor, FindsTheTapThatCollapsesTheNic) {
  const auto findings = diagnose(tap_collapse(4).host);
  ASSERT_EQ(findings.size(), 1U);
  const Finding& finding = findings[0];
  EXPECT_EQ(finding.id, "tx-queue-collapse");
  EXPECT_EQ(finding.severity, Severity::critical);
  EXPECT_EQ(finding.cause, "recorded-rx-queue");
  EXPECT_EQ(to_string(finding.subject), "weir-host/nic0");
  ASSERT_EQ(culprits(finding), std::vector<std::string>{"weir-host/tap0"});
  EXPECT_GE(finding.culprits[0].share, 0.95);
  EXPECT_EQ(finding.changed_at, "between tun receive and net:netif_receive_skb on weir-host/tap0");
  EXPECT_GE(finding.confidence, 0.9);
  EXPECT_EQ(finding.fix.command, "weir queues fix weir-host/nic0 --apply");
  EXPECT_EQ(finding.fix.undo, "weir queues undo weir-host/nic0 --apply");
  EXPECT_EQ(finding.evidence[0].what, "effective tx queues");
  EXPECT_NEAR(finding.evidence[0].value, 1.0, 0.05);
  EXPECT_EQ(finding.evidence[0].expected, 4.0);
}

TEST(Doctor, FindsItWithAnyNumberOfQueues) {
  for (const std::uint32_t queues : {2U, 3U, 4U, 8U, 16U, 48U, 64U}) {
    const auto findings = diagnose(tap_collapse(queues).host);
    ASSERT_EQ(findings.size(), 1U) << queues;
    EXPECT_EQ(findings[0].id, "tx-queue-collapse") << queues;
    EXPECT_EQ(findings[0].severity, Severity::critical) << queues;
    EXPECT_EQ(findings[0].cause, "recorded-rx-queue") << queues;
    EXPECT_GE(findings[0].confidence, 0.9) << queues;
  }
}

TEST(Doctor, SameObservationSameFindings) {
  const LabHost lab = tap_collapse(4);
  const auto once = diagnose(lab.host);
  const auto again = diagnose(lab.host);
  ASSERT_EQ(once.size(), again.size());
  EXPECT_EQ(once[0].confidence, again[0].confidence);
}

TEST(Doctor, NamesThePortOfARoutedBridge) {
  LabHost lab;
  const auto bridge = dev(1, "weir-host", 9, "br0");
  lab.config(lab.tap0).master = 9;
  lab.config(lab.pv0).master = 9;
  model::DeviceConfig& config = lab.host.config.devices.emplace_back(test::veth(bridge, 1));
  config.link_kind = "bridge";
  lab.host.devices = {observed(lab.nic0, 4, {pinned(bridge, equal_flows(256, kPackets), 0, QueueRule::recorded)})};
  lab.host.devices[0].changes = {{bridge, {"", {}}, {"net:netif_receive_skb", lab.tap0}, 0, 1, kSeen},
                                 {bridge, {"", {}}, {"", {}}, 0, 0, 10}};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(culprits(findings[0]), std::vector<std::string>{"weir-host/tap0"});
  EXPECT_EQ(findings[0].changed_at, "between tun receive and net:netif_receive_skb on weir-host/tap0");
}

TEST(Doctor, SaysWhereAnInjectedQueueWasWritten) {
  LabHost lab;
  lab.host.devices = {observed(lab.nic0, 4, {pinned(lab.pv0, equal_flows(256, kPackets), 0, QueueRule::recorded)})};
  lab.host.devices[0].changes = {
      {lab.pv0, {"net:netif_receive_skb", lab.pv0}, {"nf:PRE_ROUTING first", lab.pv0}, 0, 1, kSeen}};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].changed_at, "between net:netif_receive_skb and nf:PRE_ROUTING on weir-host/pv0 (tc ingress)");
  EXPECT_GE(findings[0].confidence, 0.9);
  EXPECT_GE(findings[0].culprits.at(0).share, 0.95);
}

struct PathCase {
  const char* what;
  model::PathPoint from;
  model::PathPoint to;
  std::uint32_t after;
  const char* text;
};

TEST(Doctor, PutsTheChangeOfAPodIntoWords) {
  const LabHost names;
  const char* carried =
      "between the queue choice of weir-pod/eth0 (tx queue 1) and net:netif_receive_skb on weir-host/pv0, carried over "
      "the veth pair and read as a recorded receive queue";
  const PathCase cases[] = {
      {"the pick in the pod was seen", {}, {"pick", names.eth0}, 1, carried},
      {"only the host was seen", {}, {"net:netif_receive_skb", names.pv0}, 1, carried},
      {"more than one device",
       {"tcx:egress", names.eth0},
       {"net:netif_rx", names.pv0},
       1,
       "between tcx:egress on weir-pod/eth0 and net:netif_rx on weir-host/pv0"},
      {"inside one hook",
       {"nf:FORWARD first", names.pv0},
       {"nf:FORWARD last", names.pv0},
       1,
       "between the first and the last nf:FORWARD hook on weir-host/pv0"},
      {"inside tcf_classify()",
       {"tc:ingress first", names.pv0},
       {"tc:ingress last", names.pv0},
       1,
       "in a tc filter at ingress of weir-host/pv0"},
      {"inside tcf_classify(), sending",
       {"tc:egress first", names.nic0},
       {"tc:egress last", names.nic0},
       1,
       "in a tc filter at egress of weir-host/nic0"},
      {"behind the filters",
       {"tc:ingress last", names.pv0},
       {"netdev_core_pick_tx", names.nic0},
       1,
       "between tc:ingress on weir-host/pv0 and netdev_core_pick_tx on weir-host/nic0"},
      {"numbered priorities",
       {"nf:PRE_ROUTING@-300", names.pv0},
       {"nf:FORWARD@451", names.pv0},
       1,
       "between nf:PRE_ROUTING and nf:FORWARD on weir-host/pv0"},
      {"a queue that the pod does not have",
       {},
       {"net:netif_rx", names.pv0},
       2,
       "between veth receive and net:netif_rx on weir-host/pv0"},
  };
  for (const PathCase& row : cases) {
    LabHost lab(4, 2);
    lab.host.devices = {observed(lab.nic0, 4, {pinned(lab.pv0, equal_flows(256, kPackets), 0, QueueRule::recorded)})};
    lab.host.devices[0].changes = {{lab.pv0, row.from, row.to, 0, row.after, kSeen}};
    const auto findings = diagnose(lab.host);
    ASSERT_EQ(findings.size(), 1U) << row.what;
    EXPECT_EQ(findings[0].changed_at, row.text) << row.what;
  }
}

TEST(Doctor, WithoutAPathTheIntervalIsTheWholePath) {
  LabHost lab = tap_collapse(4);
  lab.host.devices[0].changes.clear();
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].changed_at, "between tun receive on weir-host/tap0 and the queue choice of weir-host/nic0");
}

TEST(Doctor, APacketMetOnlyAtTheEndDoesNotBlurThePlace) {
  LabHost lab = tap_collapse(4);
  lab.host.devices[0].changes = {{lab.tap0, {"", {}}, {"tcx:egress", lab.nic0}, 0, 1, kSeen},
                                 {lab.tap0, {"", {}}, {"net:netif_receive_skb", lab.tap0}, 0, 1, kSeen / 10}};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].changed_at, "between tun receive and net:netif_receive_skb on weir-host/tap0");
}

// C: the pod's eth0 sends by one of its two queues; that is evidence, not a second finding.
TEST(Doctor, APodsOwnQueueChoiceIsEvidence) {
  LabHost lab(4, 2);
  lab.config(lab.eth0).xps_cpus = {{}, {0, 1}};
  lab.host.devices = {
      observed(lab.eth0, 2, {pinned(dev(2, "weir-pod", 0, ""), equal_flows(256, kPackets), 1, QueueRule::xps)}),
      observed(lab.nic0, 4, {pinned(lab.pv0, equal_flows(256, kPackets), 0, QueueRule::recorded)})};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(to_string(findings[0].subject), "weir-host/nic0");
  EXPECT_EQ(findings[0].cause, "recorded-rx-queue");
  EXPECT_THAT(findings[0].notes, testing::Contains(HasSubstr("weir-pod/eth0 chooses its own tx queue 1 by XPS")));
  EXPECT_GE(findings[0].confidence, 0.9);
}

// The answers of the same conversations go back by pv0, recorded as well; the way with more to carry is judged.
TEST(Doctor, TheWayBackIsNoFindingOfItsOwn) {
  LabHost lab(4, 4);
  lab.host.devices = {observed(lab.nic0, 4, {test::through_veth(lab.pv0, equal_flows(2000, kPackets), 4, 4, 7)}),
                      observed(lab.pv0, 4, {test::through_veth(lab.nic0, equal_flows(2000, kPackets / 2), 4, 4, 7)}),
                      observed(lab.w0, 4, {hashed(dev(3, "weir-wire", 0, ""), equal_flows(8, kPackets / 2))})};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(to_string(findings[0].subject), "weir-host/nic0");
}

struct VethCase {
  std::uint32_t pod_queues;
  std::uint32_t nic_queues;
  const char* id;
  Severity severity;
};

TEST(Doctor, MultiQueueVethsSkewTheNic) {
  const VethCase cases[] = {
      {4, 4, "tx-queue-skew", Severity::warning},       {2, 4, "tx-queue-collapse", Severity::critical},
      {3, 3, "tx-queue-skew", Severity::warning},       {2, 8, "tx-queue-collapse", Severity::critical},
      {2, 64, "tx-queue-collapse", Severity::critical}, {4, 64, "tx-queue-collapse", Severity::critical}};
  for (const VethCase& row : cases) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      LabHost lab(row.nic_queues, row.pod_queues);
      lab.host.devices = {
          observed(lab.nic0, row.nic_queues,
                   {test::through_veth(lab.pv0, equal_flows(2000, kPackets), row.pod_queues, row.nic_queues, seed)})};
      const auto findings = diagnose(lab.host);
      ASSERT_EQ(findings.size(), 1U) << row.pod_queues << " to " << row.nic_queues << " seed " << seed;
      EXPECT_EQ(findings[0].id, row.id);
      EXPECT_EQ(findings[0].severity, row.severity);
      EXPECT_EQ(findings[0].cause, "recorded-rx-queue");
      EXPECT_GE(findings[0].confidence, 0.8);
      EXPECT_EQ(culprits(findings[0]), std::vector<std::string>{"weir-host/pv0"});
    }
  }
}

TEST(Doctor, OnlyTheCulpritAmongSeveralPodsIsNamed) {
  for (const std::uint32_t queues : {2U, 4U, 16U, 64U}) {
    LabHost lab(queues);
    std::vector<Stream> streams = {pinned(lab.tap0, equal_flows(200, kPackets), 0, QueueRule::recorded),
                                   hashed(lab.local, equal_flows(100, kPackets / 8))};
    for (std::uint32_t pod = 0; pod < 4; ++pod) {
      const auto port = dev(1, "weir-host", 20 + pod, "pod" + std::to_string(pod));
      lab.host.config.devices.push_back(test::veth(port, 1));
      streams.push_back(hashed(port, equal_flows(100, kPackets / 16)));
    }
    lab.host.devices = {observed(lab.nic0, queues, streams)};
    const auto findings = diagnose(lab.host);
    ASSERT_EQ(findings.size(), 1U) << queues;
    EXPECT_EQ(findings[0].cause, "recorded-rx-queue") << queues;
    EXPECT_EQ(culprits(findings[0]), std::vector<std::string>{"weir-host/tap0"}) << queues;
    EXPECT_GE(findings[0].culprits[0].share, 0.99) << queues;
  }
}

// A NIC whose receive queues are all busy records too, evenly; only the tap makes the imbalance.
TEST(Doctor, ADeviceThatRecordsEvenlyIsNoCulprit) {
  LabHost lab;
  const auto eth1 = dev(1, "weir-host", 7, "eth1");
  lab.host.config.devices.push_back(test::hardware(eth1, "mlx5_core", 4));
  Stream even = hashed(eth1, equal_flows(400, kPackets));
  for (std::size_t flow = 0; flow < even.on.size(); ++flow) even.on[flow] = flow % 4;
  even.rules.assign(even.on.size(), QueueRule::recorded);
  lab.host.devices = {
      observed(lab.nic0, 4, {even, pinned(lab.tap0, equal_flows(200, kPackets), 0, QueueRule::recorded)})};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(culprits(findings[0]), std::vector<std::string>{"weir-host/tap0"});
  EXPECT_NEAR(findings[0].culprits[0].share, 0.5, 0.05);
}

TEST(Doctor, SeveralNicsAreJudgedApartAndRanked) {
  LabHost lab;
  const auto nic1 = dev(1, "weir-host", 8, "nic1");
  const auto nic2 = dev(1, "weir-host", 9, "nic2");
  const auto nic3 = dev(1, "weir-host", 10, "nic3");
  for (const auto& ref : {nic1, nic2, nic3}) lab.host.config.devices.push_back(test::veth(ref, 4));
  lab.host.devices = {observed(nic1, 4, {test::through_veth(lab.pv0, equal_flows(2000, 4 * kPackets), 4, 4, 3)}),
                      observed(nic2, 4, {pinned(lab.tap0, equal_flows(256, kPackets), 0, QueueRule::recorded)}),
                      observed(lab.nic0, 4, {pinned(lab.tap0, equal_flows(256, 2 * kPackets), 0, QueueRule::recorded)}),
                      observed(nic3, 4, {hashed(lab.pv0, equal_flows(512, kPackets))})};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 3U);
  EXPECT_EQ(to_string(findings[0].subject), "weir-host/nic0");
  EXPECT_EQ(to_string(findings[1].subject), "weir-host/nic2");
  EXPECT_EQ(to_string(findings[2].subject), "weir-host/nic1");
  EXPECT_EQ(findings[2].severity, Severity::warning);
}

// Tracepoints only: nobody read the value before the pick.
TEST(Doctor, ConcludesARecordedQueueByElimination) {
  for (const std::uint32_t queues : {2U, 4U, 32U}) {
    LabHost lab(queues);
    // Once in N the constant queue happens to be the hash's.
    Stream stream = pinned(lab.tap0, equal_flows(256, kPackets), 0, QueueRule::unexplained);
    for (std::size_t flow = 0; flow < stream.rules.size(); flow += queues) stream.rules[flow] = QueueRule::hash;
    lab.host.devices = {observed(lab.nic0, queues, {stream})};
    lab.host.devices[0].before_pick_seen = false;
    const auto findings = diagnose(lab.host);
    ASSERT_EQ(findings.size(), 1U) << queues;
    EXPECT_EQ(findings[0].cause, "recorded-rx-queue");
    EXPECT_LT(findings[0].confidence, 0.8);
    EXPECT_GE(findings[0].confidence, 0.5);
    EXPECT_THAT(findings[0].notes, testing::Contains(HasSubstr("could not be read")));
  }
}

TEST(Doctor, ElimationNeedsThatNothingElseCanExplain) {
  LabHost lab;
  lab.host.devices = {observed(lab.nic0, 4, {pinned(lab.tap0, equal_flows(256, kPackets), 2, QueueRule::unexplained)})};
  EXPECT_THAT(diagnose(lab.host), IsEmpty()) << "the value before the pick was read, and was unset";
  lab.host.devices[0].before_pick_seen = false;
  EXPECT_EQ(diagnose(lab.host).size(), 1U);
  lab.config(lab.nic0).xps_cpus = {{0}, {1}, {}, {}};
  EXPECT_THAT(diagnose(lab.host), IsEmpty()) << "an XPS map that was misread could explain it";
}

TEST(Doctor, WhatALocalSocketSendsHasNoRecordedQueue) {
  LabHost lab;
  lab.host.devices = {
      observed(lab.nic0, 4, {pinned(lab.local, equal_flows(256, kPackets), 2, QueueRule::unexplained)})};
  lab.host.devices[0].before_pick_seen = false;
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

TEST(Doctor, LostPacketsAndUnreadConfigurationAreTold) {
  LabHost lab = tap_collapse(4);
  lab.host.accounting.packets_lost = lab.host.accounting.packets_seen / 10;
  lab.config(lab.nic0).unread = {"xps_rxqs: Permission denied"};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_THAT(findings[0].notes, testing::Contains(HasSubstr("could not be counted")));
  EXPECT_THAT(findings[0].notes, testing::Contains("Not read: xps_rxqs: Permission denied."));
}

}  // namespace
}  // namespace weir
