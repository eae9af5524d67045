// A healthy host gives no finding, however its flows happen to fall; and what is too little to judge gives none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "reason/doctor/doctor.h"
#include "reason/doctor/suspicion.h"
#include "support/queue_models.h"

namespace weir {
namespace {

using reason::diagnose;
using test::dev;
using test::equal_flows;
using test::hashed;
using test::LabHost;
using test::observed;
using test::pinned;
using test::QueueRule;
using test::Stream;
using testing::IsEmpty;

constexpr double kPackets = 20000;

std::string words(const std::vector<model::Finding>& findings) {
  std::string text;
  for (const auto& finding : findings) text += finding.title + "\n";
  return text;
}

/// Weights like those of real hosts: a few heavy flows, many light ones (Pareto, shape 1.3).
std::vector<double> uneven_flows(std::size_t count, double packets, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(0.001, 1);
  std::vector<double> weights;
  double sum = 0;
  for (std::size_t flow = 0; flow < count; ++flow) sum += weights.emplace_back(std::pow(uniform(random), -1 / 1.3));
  for (double& weight : weights) weight *= packets / sum;
  return weights;
}

struct Healthy {
  std::uint32_t queues;
  std::size_t flows;
  bool uneven;
  std::uint32_t sample_rate;
};

class HealthyTest : public testing::TestWithParam<Healthy> {};

TEST_P(HealthyTest, NoPlacementGivesAFinding) {
  const Healthy& row = GetParam();
  for (std::uint64_t seed = 1; seed <= 250; ++seed) {  // 2250 placements in all
    LabHost lab(row.queues);
    const auto flows = row.uneven ? uneven_flows(row.flows, 3 * kPackets, seed) : equal_flows(row.flows, 3 * kPackets);
    lab.host.devices = {observed(lab.nic0, row.queues, {hashed(lab.pv0, flows)}, seed, row.sample_rate)};
    const auto findings = diagnose(lab.host);
    ASSERT_THAT(findings, IsEmpty()) << "seed " << seed << ": " << words(findings);
  }
}

INSTANTIATE_TEST_SUITE_P(Placements, HealthyTest,
                         testing::Values(Healthy{2, 64, false, 16}, Healthy{4, 64, false, 16},
                                         Healthy{4, 256, false, 64}, Healthy{8, 128, false, 16},
                                         Healthy{16, 256, false, 16}, Healthy{64, 512, false, 16},
                                         Healthy{64, 2000, false, 64}, Healthy{4, 1000, true, 16},
                                         Healthy{64, 2000, true, 16}));

// Forwarded from a NIC with healthy receive hashing: every packet is recorded, and spread by that hash.
TEST(DoctorHealthy, RecordedIsNotWrongInItself) {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    LabHost lab(4);
    const auto eth1 = dev(1, "weir-host", 7, "eth1");
    lab.host.config.devices.push_back(test::hardware(eth1, "virtio_net", 4));
    std::mt19937_64 random(seed);
    Stream stream = pinned(eth1, equal_flows(24, kPackets), 0, QueueRule::recorded);
    for (auto& queue : stream.on) queue = static_cast<std::uint32_t>(random() % 4);
    lab.host.devices = {observed(lab.nic0, 4, {stream}, seed)};
    for (const auto& finding : diagnose(lab.host)) EXPECT_NE(finding.cause, "recorded-rx-queue") << seed;
  }
}

LabHost collapsed() {
  LabHost lab;
  lab.host.devices = {observed(lab.nic0, 4, {pinned(lab.tap0, equal_flows(256, kPackets), 0, QueueRule::recorded)})};
  return lab;
}

TEST(DoctorSilence, TheReferenceCaseIsAFinding) {
  EXPECT_EQ(diagnose(collapsed().host).size(), 1U);
}

TEST(DoctorSilence, OneEvenWindowIsDisagreement) {
  LabHost lab = collapsed();
  lab.host.devices[0].windows[1] = test::window(4, {hashed(lab.pv0, equal_flows(256, kPackets))}, 5);
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

TEST(DoctorSilence, TwoWindowsAreTooFew) {
  LabHost lab = collapsed();
  lab.host.devices[0].windows.pop_back();
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

TEST(DoctorSilence, EmptyWindowsDoNotCount) {
  LabHost lab = collapsed();
  auto& windows = lab.host.devices[0].windows;
  windows.insert(windows.begin() + 1, test::window(4, {}, 1));
  windows.push_back(test::window(4, {}, 1));
  EXPECT_EQ(diagnose(lab.host).size(), 1U) << "the last three with enough packets are judged";
  windows.erase(windows.begin());
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

TEST(DoctorSilence, EarlierWindowsOnlyLowerTheConfidence) {
  LabHost lab = collapsed();
  const double before = diagnose(lab.host).at(0).confidence;
  auto& windows = lab.host.devices[0].windows;
  windows.insert(windows.begin(), test::window(4, {hashed(lab.pv0, equal_flows(256, kPackets))}, 5));
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_LT(findings[0].confidence, before);
}

TEST(DoctorSilence, LittleTraffic) {
  LabHost lab;
  lab.host.devices = {observed(lab.nic0, 4, {pinned(lab.tap0, equal_flows(40, 120), 0, QueueRule::recorded)}, 1, 1)};
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

TEST(DoctorSilence, SomeTrafficIsAWarningOnly) {
  LabHost lab;
  lab.host.devices = {observed(lab.nic0, 4, {pinned(lab.tap0, equal_flows(80, 800), 0, QueueRule::recorded)}, 1, 1)};
  const auto findings = diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].severity, model::Severity::warning);
}

TEST(DoctorSilence, AnIdleHostWithOneSession) {
  LabHost lab;
  lab.host.devices = {observed(lab.nic0, 4, {hashed(lab.local, {900.0, 50.0})}, 1, 1)};
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

TEST(DoctorSilence, ADeviceThatWentAway) {
  LabHost lab = collapsed();
  lab.host.devices[0].vanished = true;
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

TEST(DoctorSilence, ADeviceWithoutConfiguration) {
  LabHost lab = collapsed();
  lab.host.config.devices.clear();
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

TEST(DoctorSilence, NothingAtAll) {
  EXPECT_THAT(diagnose({}), IsEmpty());
}

TEST(DoctorSilence, UnknownFlowsOrNoSamples) {
  LabHost lab = collapsed();
  for (auto& window : lab.host.devices[0].windows) window.sample.flows.clear();
  EXPECT_THAT(diagnose(lab.host), IsEmpty()) << "few flows cannot be ruled out";
  for (auto& window : lab.host.devices[0].windows) window.sample = {};
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

TEST(DoctorSilence, DevicesWhoseChoiceIsNotFelt) {
  for (const char* kind : {"bridge", "tun", "bond", "vlan", "dummy", "vxlan"}) {
    LabHost lab = collapsed();
    lab.config(lab.nic0).link_kind = kind;
    EXPECT_THAT(diagnose(lab.host), IsEmpty()) << kind;
  }
  LabHost lab = collapsed();
  lab.config(lab.nic0).loopback = true;
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

// Queues that were taken away while packets were counted leave rows beyond the last queue.
TEST(DoctorSilence, RowsBeyondTheQueuesInUseAreNoFault) {
  LabHost lab(2);
  lab.host.devices = {observed(lab.nic0, 4, {hashed(lab.pv0, equal_flows(400, kPackets))})};
  EXPECT_THAT(diagnose(lab.host), IsEmpty());
}

TEST(Suspicion, ConcernsUnevenWindowsOfDevicesWithQueues) {
  const LabHost lab = collapsed();
  const model::DeviceConfig nic = *lab.host.config.find(lab.nic0);
  EXPECT_TRUE(reason::worth_following(nic, lab.host.devices[0].windows[0]));
  EXPECT_FALSE(reason::worth_following(nic, {}));
  EXPECT_FALSE(reason::worth_following(nic, test::window(4, {hashed(lab.pv0, equal_flows(2000, kPackets))}, 1)));
}

}  // namespace
}  // namespace weir
