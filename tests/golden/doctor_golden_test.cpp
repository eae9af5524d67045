// What `weir doctor` prints, as text and as JSON, for fixed observations.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/render_findings.h"
#include "model/json.h"
#include "reason/doctor/doctor.h"
#include "support/golden.h"
#include "support/queue_models.h"

namespace weir {
namespace {

using test::dev;
using test::equal_flows;
using test::expect_golden;
using test::hashed;
using test::LabHost;
using test::pinned;
using test::QueueRule;

constexpr double kPackets = 20480;
constexpr std::uint64_t kSeen = 61440;

// Every packet examined: no distribution of the standard library, whose numbers may differ, takes part.
model::DeviceObservation all_observed(const model::DeviceRef& device, std::uint32_t queues,
                                      const std::vector<test::Stream>& streams, const std::vector<double>& cpus = {}) {
  return test::observed(device, queues, streams, 1, 1, cpus);
}

model::Capabilities capabilities() {
  return {"6.18.44", {{"tp_btf", true, "", ""}, {"tcx", true, "", ""}, {"fentry", false, "no trampolines", "…"}}};
}

void expect_report(const std::string& name, const LabHost& lab) {
  const auto findings = reason::diagnose(lab.host);
  const std::string text = cli::render_findings(lab.host, findings, false);
  expect_golden("doctor/" + name + ".txt", text);
  expect_golden("doctor/" + name + ".json", model::doctor_json(lab.host, capabilities(), findings).dump(2) + "\n");
}

TEST(DoctorGolden, RecordedByATap) {
  LabHost lab;
  lab.host.devices = {all_observed(
      lab.nic0, 4,
      {pinned(lab.tap0, equal_flows(256, kPackets), 0, QueueRule::recorded), hashed(lab.local, equal_flows(8, 80))})};
  lab.host.devices[0].changes = {{lab.tap0, {"", {}}, {"net:netif_receive_skb", lab.tap0}, 0, 1, kSeen}};
  expect_report("recorded_tap", lab);
}

TEST(DoctorGolden, RecordedByAPod) {
  LabHost lab(4, 2);
  lab.config(lab.eth0).xps_cpus = {{}, {0, 1}};
  lab.host.devices = {all_observed(lab.nic0, 4, {pinned(lab.pv0, equal_flows(256, kPackets), 0, QueueRule::recorded)})};
  lab.host.devices[0].changes = {{lab.pv0, {"", {}}, {"pick", lab.eth0}, 0, 1, kSeen}};
  expect_report("recorded_pod", lab);
}

TEST(DoctorGolden, SkewBehindAMultiQueueVeth) {
  LabHost lab(4, 4);
  lab.host.devices = {all_observed(lab.nic0, 4, {test::through_veth(lab.pv0, equal_flows(2048, kPackets), 4, 4, 1)})};
  lab.host.devices[0].changes = {{lab.pv0, {"", {}}, {"pick", lab.eth0}, 0, 2, kSeen / 4},
                                 {lab.pv0, {"", {}}, {"pick", lab.eth0}, 0, 1, kSeen / 4},
                                 {lab.pv0, {"", {}}, {"pick", lab.eth0}, 0, 3, kSeen / 4}};
  expect_report("skew_veth", lab);
}

TEST(DoctorGolden, Xps) {
  LabHost lab;
  lab.config(lab.nic0).xps_cpus = {{}, {}, {0, 1}, {}};
  lab.host.devices = {all_observed(lab.nic0, 4, {pinned(lab.pv0, equal_flows(512, kPackets), 2, QueueRule::xps)})};
  expect_report("xps", lab);
}

TEST(DoctorGolden, ForwardingCpu) {
  LabHost lab;
  test::map_xps_one_to_one(lab.config(lab.nic0), 2);
  lab.host.devices = {
      all_observed(lab.nic0, 4, {pinned(lab.pv0, equal_flows(512, kPackets), 1, QueueRule::xps)}, {0.0, 1.0})};
  expect_report("forwarding_cpu", lab);
}

TEST(DoctorGolden, SeveralFindings) {
  LabHost lab;
  const auto nic1 = dev(1, "weir-host", 8, "nic1");
  const auto eth9 = dev(4, "init", 2, "eth9");
  lab.host.config.devices.push_back(test::veth(nic1, 4));
  model::DeviceConfig& vm = lab.host.config.devices.emplace_back(test::hardware(eth9, "virtio_net", 1));
  vm.max_combined_channels = 2;
  lab.host.config.unread = {"namespace id:77: Permission denied"};
  lab.host.accounting.packets_lost = 12;
  lab.host.devices = {
      all_observed(eth9, 1, {pinned(dev(4, "init", 0, ""), equal_flows(512, kPackets), 0, QueueRule::single)}),
      all_observed(nic1, 4, {hashed(lab.pv0, {kPackets})}),
      all_observed(lab.nic0, 4, {pinned(lab.tap0, equal_flows(256, kPackets), 0, QueueRule::recorded)})};
  lab.host.devices[2].before_pick_seen = false;
  expect_report("several", lab);
}

TEST(DoctorGolden, Healthy) {
  LabHost lab;
  lab.host.devices = {all_observed(lab.nic0, 4, {hashed(lab.pv0, equal_flows(512, kPackets))})};
  expect_report("healthy", lab);
}

TEST(DoctorGolden, NoPackets) {
  LabHost lab;
  lab.host.accounting = {};
  expect_report("no_packets", lab);
}

TEST(DoctorText, IsShortEnoughToRead) {
  LabHost lab(64, 2);
  lab.config(lab.eth0).xps_cpus = {{}, {0, 1}};
  lab.config(lab.nic0).unread = {"a", "b", "c", "d"};
  std::vector<test::Stream> streams;
  for (std::uint32_t pod = 0; pod < 6; ++pod) {
    const auto port = dev(1, "weir-host", 20 + pod, "pod" + std::to_string(pod));
    streams.push_back(pinned(port, equal_flows(200, kPackets), 0, QueueRule::recorded));
  }
  lab.host.devices = {all_observed(lab.nic0, 64, streams)};
  const auto findings = reason::diagnose(lab.host);
  ASSERT_EQ(findings.size(), 1U);
  const std::string text = cli::render_findings(lab.host, findings, false);
  EXPECT_LE(std::ranges::count(text, '\n'), 2 + 25) << text;
}

TEST(DoctorText, ColoursOnlyWhenToldTo) {
  LabHost lab;
  lab.host.devices = {all_observed(lab.nic0, 4, {hashed(lab.pv0, {kPackets})})};
  const auto findings = reason::diagnose(lab.host);
  const std::string plain = cli::render_findings(lab.host, findings, false);
  std::string coloured = cli::render_findings(lab.host, findings, true);
  EXPECT_EQ(plain.find('\x1b'), std::string::npos);
  EXPECT_NE(coloured.find("\x1b[1;36m"), std::string::npos);
  for (std::size_t at = coloured.find('\x1b'); at != std::string::npos; at = coloured.find('\x1b')) {
    coloured.erase(at, coloured.find('m', at) - at + 1);
  }
  EXPECT_EQ(coloured, plain);
}

}  // namespace
}  // namespace weir
