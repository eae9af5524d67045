// The other causes, drivers with a rule of their own, and machines that no lab here can show.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reason/doctor/doctor.h"
#include "reason/doctor/drivers.h"
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

constexpr double kPackets = 20000;

/// Flows spread over CPUs `first` to `first + cpus`, each with the queue of its CPU.
Stream by_cpu(const model::DeviceRef& origin, std::size_t flows, std::uint32_t cpus, std::uint32_t queues,
              double packets = kPackets, std::uint32_t first = 0) {
  Stream stream = pinned(origin, equal_flows(flows, packets), 0, QueueRule::xps);
  for (std::size_t flow = 0; flow < flows; ++flow) stream.on[flow] = (first + flow % cpus) % queues;
  return stream;
}

/// A host with one hardware NIC `eth0` (driver, queues, CPUs) and a container behind a single-queue veth.
struct Machine {
  model::DeviceRef eth0 = dev(1, "init", 2, "eth0");
  model::DeviceRef pod = dev(1, "init", 5, "cali1");
  model::DeviceRef local = dev(1, "init", 0, "(local sockets)");
  model::HostObservation host;

  Machine(const std::string& driver, std::uint32_t queues, std::uint32_t cpus, const std::string& kernel = "6.12.1") {
    host.config.kernel = kernel;
    host.config.online_cpus = cpus;
    host.config.devices = {test::hardware(eth0, driver, queues), test::veth(pod, 1)};
    host.accounting.packets_seen = 1'000'000;
  }
  model::DeviceConfig& nic() { return host.config.devices[0]; }
  void see(const std::vector<Stream>& streams, const std::vector<double>& cpus = {}) {
    host.devices = {observed(eth0, nic().real_tx_queues, streams, 1, 4, cpus)};
  }
  Finding only(const char* what = "") {
    const auto findings = diagnose(host);
    EXPECT_EQ(findings.size(), 1U) << what;
    return findings.empty() ? Finding{} : findings[0];
  }
};

TEST(DoctorXps, AMapThatSendsAllCpusToOneQueue) {
  for (const std::uint32_t queues : {2U, 4U, 64U}) {
    LabHost lab(queues);
    lab.config(lab.nic0).xps_cpus.assign(queues, {});
    lab.config(lab.nic0).xps_cpus[queues / 2] = {0, 1};
    lab.host.devices = {
        observed(lab.nic0, queues, {pinned(lab.pv0, equal_flows(512, kPackets), queues / 2, QueueRule::xps)})};
    const auto findings = diagnose(lab.host);
    ASSERT_EQ(findings.size(), 1U) << queues;
    EXPECT_EQ(findings[0].id, "tx-queue-collapse");
    EXPECT_EQ(findings[0].cause, "xps");
    EXPECT_EQ(findings[0].severity, Severity::critical);
    EXPECT_THAT(findings[0].title, HasSubstr("its XPS map sends CPUs 0-1 to queue " + std::to_string(queues / 2)));
    EXPECT_EQ(findings[0].fix.command, "") << "clearing a recorded queue does not help";
    EXPECT_THAT(findings[0].fix.advice, HasSubstr("xps_cpus"));
    EXPECT_GE(findings[0].confidence, 0.9);
  }
}

TEST(DoctorXps, OneCpuThatForwardsBehindAGoodMap) {
  LabHost lab;
  test::map_xps_one_to_one(lab.config(lab.nic0), 2);
  lab.host.devices = {
      observed(lab.nic0, 4, {pinned(lab.pv0, equal_flows(512, kPackets), 1, QueueRule::xps)}, 1, 4, {0.0, 1.0})};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].cause, "forwarding-cpu");
  EXPECT_EQ(findings[0].severity, Severity::warning);
  EXPECT_EQ(findings[0].fix.command, "");
  EXPECT_THAT(findings[0].fix.advice, HasSubstr("rps_cpus"));
  EXPECT_EQ(to_string(findings[0].culprits.at(0).device), "weir-host/pv0");
}

TEST(DoctorXps, BothCpusOfASmallHostAreAllThereIs) {
  LabHost lab;
  test::map_xps_one_to_one(lab.config(lab.nic0), 2);
  lab.host.devices = {observed(lab.nic0, 4, {by_cpu(lab.pv0, 512, 2, 4)}, 1, 4, {0.5, 0.5})};
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

TEST(DoctorBigHost, ALocalServiceOnAFewOf64CpusIsHealthy) {
  Machine machine("mlx5_core", 64, 64);
  test::map_xps_one_to_one(machine.nic(), 64);
  for (const std::uint32_t busy : {1U, 4U, 16U, 64U}) {
    machine.see({by_cpu(machine.local, 2048, busy, 64, 200000)}, std::vector<double>(busy, 1.0 / busy));
    EXPECT_THAT(diagnose(machine.host), IsEmpty()) << busy;
  }
}

TEST(DoctorBigHost, SocketsKeepWhatXpsChose) {
  Machine machine("mlx5_core", 64, 64);
  test::map_xps_one_to_one(machine.nic(), 64);
  Stream stream = by_cpu(machine.local, 2048, 4, 64, 200000);
  for (std::size_t flow = 0; flow < stream.rules.size(); flow += 2) stream.rules[flow] = QueueRule::socket;
  machine.see({stream}, {0.25, 0.25, 0.25, 0.25});
  EXPECT_THAT(diagnose(machine.host), IsEmpty());
}

TEST(DoctorBigHost, AMapOfOneSocketsCpusForTheOtherIsFound) {
  Machine machine("mlx5_core", 64, 64);
  // Someone gave all CPUs of both sockets to the first four queues.
  machine.nic().xps_cpus.assign(64, {});
  for (std::uint32_t cpu = 0; cpu < 64; ++cpu) machine.nic().xps_cpus[cpu % 4].push_back(cpu);
  machine.see({by_cpu(machine.local, 2048, 4, 64, 200000)}, std::vector<double>(64, 1.0 / 64));
  const Finding finding = machine.only();
  EXPECT_EQ(finding.id, "tx-queue-collapse");
  EXPECT_EQ(finding.cause, "xps");
}

TEST(DoctorBigHost, ForwardingFromNicToNicKeepsItsReceiveQueues) {
  Machine machine("ice", 64, 64);
  const auto eth1 = dev(1, "init", 3, "eth1");
  machine.host.config.devices.push_back(test::hardware(eth1, "ice", 8));
  Stream stream = pinned(eth1, equal_flows(2048, 200000), 0, QueueRule::recorded);
  for (std::size_t flow = 0; flow < stream.on.size(); ++flow) stream.on[flow] = flow % 8;
  machine.see({stream});
  EXPECT_THAT(diagnose(machine.host), IsEmpty()) << "eight receive queues, eight transmit queues: as it should be";
  for (std::size_t flow = 0; flow < stream.on.size(); ++flow) stream.on[flow] = 3;
  machine.see({stream});
  EXPECT_EQ(machine.only("one of eight is a collapse that reception handed on").cause, "recorded-rx-queue");
}

TEST(DoctorSmallVm, OneQueueIsNoQuestionOfQueues) {
  Machine machine("virtio_net", 1, 1);
  machine.see({hashed(machine.local, equal_flows(512, kPackets))});
  EXPECT_THAT(diagnose(machine.host), IsEmpty());
}

TEST(DoctorOneQueue, HardwareThatCouldDoMore) {
  Machine machine("ena", 1, 8);
  machine.nic().num_tx_queues = 8;
  machine.nic().max_combined_channels = 8;
  machine.nic().combined_channels = 1;
  machine.see({pinned(machine.local, equal_flows(512, kPackets), 0, QueueRule::single)});
  const Finding finding = machine.only();
  EXPECT_EQ(finding.id, "tx-queue-collapse");
  EXPECT_EQ(finding.cause, "one-active-queue");
  EXPECT_EQ(finding.severity, Severity::warning);
  EXPECT_THAT(finding.fix.advice, HasSubstr("ethtool -L eth0 combined 8"));

  machine.see({pinned(machine.local, equal_flows(512, kPackets / 10), 0, QueueRule::single)});
  EXPECT_THAT(diagnose(machine.host), IsEmpty()) << "little traffic";
  machine.see({pinned(machine.local, equal_flows(1, kPackets), 0, QueueRule::single)});
  EXPECT_THAT(diagnose(machine.host), IsEmpty()) << "one flow would not use more";
  machine.host.config.online_cpus = 1;
  machine.see({pinned(machine.local, equal_flows(512, kPackets), 0, QueueRule::single)});
  EXPECT_THAT(diagnose(machine.host), IsEmpty()) << "one CPU cannot use more";
}

TEST(DoctorEna, TheDriverTakesTheRecordedQueueBeforeXps) {
  Machine machine("ena", 8, 8, "5.10.220-209.869.amzn2.x86_64");
  test::map_xps_one_to_one(machine.nic(), 8);
  for (const QueueRule rule : {QueueRule::recorded, QueueRule::driver}) {
    machine.see({pinned(machine.pod, equal_flows(512, kPackets), 0, rule)});
    const Finding finding = machine.only();
    EXPECT_EQ(finding.id, "tx-queue-collapse");
    EXPECT_EQ(finding.cause, "driver-select-queue");
    EXPECT_EQ(finding.severity, Severity::critical);
    EXPECT_THAT(finding.mechanism, HasSubstr("ena_select_queue()"));
    EXPECT_THAT(finding.fix.advice, HasSubstr("6.9"));
    EXPECT_THAT(finding.fix.advice, HasSubstr("egress"));
    EXPECT_TRUE(finding.by_recorded_queue);
    EXPECT_EQ(finding.fix.command, "weir queues fix init/eth0 --apply");
    ASSERT_EQ(finding.culprits.size(), 1U);
    EXPECT_EQ(to_string(finding.culprits[0].device), "init/cali1");
  }
}

TEST(DoctorEna, NothingIsRecordedInWhatLocalSocketsSend) {
  Machine machine("ena", 8, 8, "5.10.220-209.869.amzn2.x86_64");
  test::map_xps_one_to_one(machine.nic(), 8);
  machine.see({pinned(machine.local, equal_flows(512, kPackets), 0, QueueRule::driver)});
  const Finding finding = machine.only();
  EXPECT_EQ(finding.cause, "driver-select-queue");
  EXPECT_FALSE(finding.by_recorded_queue);
  EXPECT_EQ(finding.fix.command, "");
}

TEST(DoctorEna, ForwardingThatKeepsItsReceiveQueuesIsHealthy) {
  Machine machine("ena", 8, 8, "5.10.220-209.869.amzn2.x86_64");
  test::map_xps_one_to_one(machine.nic(), 8);
  const auto eth1 = dev(1, "init", 3, "eth1");
  machine.host.config.devices.push_back(test::hardware(eth1, "ena", 4));
  Stream stream = pinned(eth1, equal_flows(2048, 200000), 0, QueueRule::driver);
  for (std::size_t flow = 0; flow < stream.on.size(); ++flow) stream.on[flow] = flow % 4;
  machine.see({stream});
  EXPECT_THAT(diagnose(machine.host), IsEmpty()) << "four receive queues, four transmit queues";
}

TEST(DoctorEna, WithoutAMapTheCoreWouldDoTheSame) {
  Machine machine("ena", 8, 8, "5.15.0-1052-aws");
  machine.see({pinned(machine.pod, equal_flows(512, kPackets), 0, QueueRule::recorded)});
  const Finding finding = machine.only();
  EXPECT_EQ(finding.cause, "recorded-rx-queue");
  EXPECT_THAT(finding.notes, testing::Contains(HasSubstr("ena_select_queue()")));
  EXPECT_TRUE(finding.by_recorded_queue);
}

TEST(DoctorDriver, AWrapperOfTheCoreFollowsTheCore) {
  Machine machine("mlx5_core", 8, 8);
  machine.see({pinned(machine.pod, equal_flows(512, kPackets), 0, QueueRule::driver)});
  EXPECT_EQ(machine.only().cause, "driver-select-queue") << "the mapping was read before the pick, and was unset";
  EXPECT_FALSE(machine.only().by_recorded_queue);
  machine.host.devices[0].before_pick_seen = false;
  EXPECT_EQ(machine.only().cause, "recorded-rx-queue") << "by elimination";
}

TEST(DoctorDriver, DriverDefectsGoByKernel) {
  EXPECT_TRUE(reason::driver_choice("ena", "6.8.0-1008-aws").recorded_first);
  EXPECT_FALSE(reason::driver_choice("ena", "6.9.0").recorded_first);
  EXPECT_TRUE(reason::driver_choice("mana", "6.12.0").recorded_first);
  EXPECT_TRUE(reason::driver_choice("hv_netvsc", "6.12.0").recorded_first);
  EXPECT_FALSE(reason::driver_choice("virtio_net", "6.12.0").has_own_choice);
  EXPECT_TRUE(reason::kernel_at_least("6.10.3", 6, 9));
  EXPECT_TRUE(reason::kernel_at_least("7.0-rc1", 6, 9));
  EXPECT_FALSE(reason::kernel_at_least("5.15.0", 6, 9));
  EXPECT_FALSE(reason::kernel_at_least("garbage", 6, 9));
  EXPECT_FALSE(reason::kernel_at_least("", 6, 9));
}

TEST(DoctorPrioMap, OneClassWithOneQueue) {
  LabHost lab;
  lab.config(lab.nic0).traffic_classes = {{0, 1}, {1, 3}};
  lab.config(lab.nic0).prio_to_class = std::vector<std::uint8_t>(16, 0);
  for (const QueueRule rule : {QueueRule::hash, QueueRule::unexplained}) {
    lab.host.devices = {observed(lab.nic0, 4, {pinned(lab.pv0, equal_flows(512, kPackets), 0, rule)})};
    const auto findings = diagnose(lab.host);
    ASSERT_EQ(findings.size(), 1U);
    EXPECT_EQ(findings[0].cause, "prio-map");
    EXPECT_THAT(findings[0].title, HasSubstr("traffic class 0, which has 1 queue"));
    EXPECT_EQ(findings[0].fix.command, "");
    EXPECT_THAT(findings[0].fix.advice, HasSubstr("mqprio"));
  }
}

TEST(DoctorFlows, OneFlowIsNamed) {
  for (const std::uint32_t queues : {2U, 4U, 64U}) {
    LabHost lab(queues);
    lab.host.devices = {observed(lab.nic0, queues, {hashed(lab.pv0, {kPackets})})};
    const auto findings = diagnose(lab.host);
    ASSERT_EQ(findings.size(), 1U) << queues;
    EXPECT_EQ(findings[0].cause, "single-flow") << queues;
    EXPECT_EQ(findings[0].id, "tx-queue-collapse") << queues;
    EXPECT_EQ(findings[0].severity, Severity::info) << queues;
    EXPECT_EQ(findings[0].fix.command, "");
    EXPECT_GE(findings[0].confidence, 0.9);
  }
}

TEST(DoctorFlows, AnElephantAmongMiceIsASingleFlow) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    LabHost lab;
    std::vector<double> flows = equal_flows(300, kPackets * 0.3);
    flows.push_back(kPackets * 0.7);
    lab.host.devices = {observed(lab.nic0, 4, {hashed(lab.pv0, flows)}, seed)};
    const auto findings = diagnose(lab.host);
    ASSERT_EQ(findings.size(), 1U) << seed;
    EXPECT_EQ(findings[0].cause, "single-flow") << seed;
  }
}

TEST(DoctorFlows, AnElephantDoesNotHideARecordedQueue) {
  LabHost lab;
  std::vector<double> flows = equal_flows(300, kPackets * 0.4);
  flows.push_back(kPackets * 0.6);
  lab.host.devices = {observed(lab.nic0, 4, {pinned(lab.tap0, flows, 0, QueueRule::recorded)})};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].cause, "recorded-rx-queue");
}

TEST(DoctorFlows, ThreeFlowsOnFourQueuesAreFewWhereverTheyFall) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    LabHost lab;
    lab.host.devices = {observed(lab.nic0, 4, {hashed(lab.pv0, equal_flows(3, kPackets))}, seed)};
    const auto findings = diagnose(lab.host);
    ASSERT_EQ(findings.size(), 1U) << seed;
    EXPECT_EQ(findings[0].cause, "few-flows") << seed;
    EXPECT_EQ(findings[0].severity, Severity::info) << seed;
  }
}

TEST(DoctorFlows, TwoEqualFlowsAreFewNotSingle) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    LabHost lab;
    lab.host.devices = {observed(lab.nic0, 4, {hashed(lab.pv0, equal_flows(2, kPackets))}, seed)};
    const auto findings = diagnose(lab.host);
    ASSERT_EQ(findings.size(), 1U) << seed;
    EXPECT_EQ(findings[0].cause, "few-flows") << seed;
  }
}

TEST(DoctorFlows, AFullQueueMakesItAWarning) {
  LabHost lab;
  lab.host.devices = {observed(lab.nic0, 4, {hashed(lab.pv0, {200000})})};
  EXPECT_EQ(diagnose(lab.host).at(0).severity, Severity::warning);
}

TEST(DoctorFlows, FewRecordedFlowsAreFewWithANote) {
  LabHost lab;
  lab.host.devices = {observed(lab.nic0, 4, {pinned(lab.tap0, equal_flows(3, kPackets), 0, QueueRule::recorded)})};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].cause, "few-flows");
  EXPECT_THAT(findings[0].notes, testing::Contains(HasSubstr("recorded receive queue")));
}

}  // namespace
}  // namespace weir
