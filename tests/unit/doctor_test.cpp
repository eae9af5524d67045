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

constexpr double kPackets = 20000;

LabHost tap_collapse(std::uint32_t queues, std::uint64_t seed = 1) {
  LabHost lab(queues);
  lab.host.devices = {observed(
      lab.nic0, queues,
      {pinned(lab.tap0, equal_flows(256, kPackets), 0, QueueRule::recorded), hashed(lab.local, equal_flows(8, 100))},
      seed)};
  lab.host.devices[0].changes = {
      {lab.tap0, {"", {}}, {"net:netif_receive_skb", lab.tap0}, 0, 1, 3 * static_cast<std::uint64_t>(kPackets)}};
  return lab;
}

TEST(Doctor, FindsTheTapThatCollapsesTheNic) {
  const auto findings = diagnose(tap_collapse(4).host);
  ASSERT_EQ(findings.size(), 1U);
  const Finding& finding = findings[0];
  EXPECT_EQ(finding.id, "tx-queue-collapse");
  EXPECT_EQ(finding.severity, Severity::critical);
  EXPECT_EQ(finding.cause, "recorded-rx-queue");
  EXPECT_EQ(to_string(finding.subject), "weir-host/nic0");
  ASSERT_EQ(finding.culprits.size(), 1U);
  EXPECT_EQ(to_string(finding.culprits[0].device), "weir-host/tap0");
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

}  // namespace
}  // namespace weir
