// When the ledger of flows is worth a finding, and when it is not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/json.h"
#include "reason/doctor/accounting.h"

namespace weir::reason {
namespace {

using model::FlowDirection;
using model::LedgerLine;

LedgerLine line(const std::string& device, FlowDirection direction, std::uint64_t accounted, std::uint64_t interface) {
  LedgerLine made;
  made.device = {.netns = {1, "pod"}, .ifindex = IfIndex{static_cast<std::uint32_t>(device.back())}, .name = device};
  made.direction = direction;
  made.accounted_bytes = accounted;
  made.interface_bytes = interface;
  return made;
}

TEST(AccountingGap, ALedgerThatClosesGivesNothing) {
  model::FlowWindow window;
  EXPECT_THAT(find_accounting_gaps(window), ::testing::IsEmpty());
  window.ledger.lines = {line("eth0", FlowDirection::tx, 1'000'000, 1'000'000),
                         line("eth0", FlowDirection::rx, 999'001, 1'000'000),    // within 0.1 %
                         line("eth1", FlowDirection::tx, 1'100'000, 1'000'000),  // dropped by the driver
                         line("eth1", FlowDirection::rx, 900'000, 1'000'000),
                         line("eth2", FlowDirection::rx, 0, 1'000),
                         line("vlan", FlowDirection::rx, 0, 1'000'000)};
  window.ledger.lines[3].moment_bytes = 100'000;  // passed while they were read
  window.ledger.lines[4].segment_header_bytes = 1'000;
  window.ledger.lines[5].below_bytes = 1'000'000;
  EXPECT_THAT(find_accounting_gaps(window), ::testing::IsEmpty());
}

TEST(AccountingGap, WhatNoFlowHasIsSaidOfItsDeviceLargestFirst) {
  model::FlowWindow window;
  window.ledger.lines = {line("eth0", FlowDirection::rx, 990'000, 1'000'000),
                         line("eth1", FlowDirection::rx, 0, 500'000)};
  window.ledger.lines[1].moment_bytes = 50'000;
  const auto findings = find_accounting_gaps(window);
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_EQ(findings[0].id, "accounting-gap");
  EXPECT_EQ(findings[0].cause, "not-seen");
  EXPECT_EQ(findings[0].subject.name, "eth1");
  EXPECT_DOUBLE_EQ(findings[0].confidence, 0.9);
  EXPECT_EQ(findings[1].subject.name, "eth0");
  EXPECT_EQ(findings[1].title, "pod/eth0 counted 10 kB (1.00 %) of rx that no flow has");
  const auto json = nlohmann::json::parse(model::flow_finding_line(findings[1]));
  EXPECT_EQ(json["schema"], "weir.flow_finding/1");
  EXPECT_EQ(json["subject"]["name"], "eth0");
  EXPECT_EQ(json["evidence"][2]["what"], "unattributed");
  EXPECT_EQ(json["evidence"][2]["value"], 10'000);
  EXPECT_EQ(json["docs"], "docs/findings/accounting-gap.md");
}

TEST(AccountingGap, AFullTableNamesTheDevicesAndALargerOne) {
  model::FlowWindow window;
  window.table_flows = 256;
  window.ledger.lines = {line("eth0", FlowDirection::tx, 100'000, 400'000),
                         line("eth1", FlowDirection::rx, 900'000, 1'000'000)};
  window.ledger.lines[0].overflow_bytes = 300'000;
  window.ledger.lines[1].overflow_bytes = 100'000;
  auto findings = find_accounting_gaps(window);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].cause, "table-full");
  EXPECT_EQ(findings[0].severity, model::Severity::warning);
  EXPECT_EQ(findings[0].subject.name, "eth0");
  ASSERT_EQ(findings[0].culprits.size(), 2U);
  EXPECT_DOUBLE_EQ(findings[0].culprits[0].share, 0.75);
  EXPECT_EQ(findings[0].fix.command, "weir flows list --flows 1024");
  window.ledger.lines = {line("eth0", FlowDirection::tx, 999'000, 1'000'000)};
  window.ledger.lines[0].overflow_bytes = 1'000;
  window.table_flows = 4U << 20U;
  findings = find_accounting_gaps(window);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].severity, model::Severity::info);
  EXPECT_EQ(findings[0].fix.command, "");
}

}  // namespace
}  // namespace weir::reason
