// Whether to mend, where, and when not to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "steer/queues/plan_queue_fix.h"
#include "steer/queues/verify.h"

namespace weir::steer {
namespace {

using ::testing::HasSubstr;

const model::DeviceRef kNic{{5, "weir-host"}, IfIndex{3}, "nic0"};
const model::DeviceRef kTap{{5, "weir-host"}, IfIndex{4}, "tap0"};

model::DeviceConfig config_of(const model::DeviceRef& ref, std::uint32_t queues, const std::string& kind) {
  model::DeviceConfig device;
  device.ref = ref;
  device.link_kind = kind;
  device.up = true;
  device.real_tx_queues = device.num_tx_queues = queues;
  return device;
}

/// The flagship: a tap's packets all leave by queue 0 of a four-queue NIC.
struct Host {
  model::HostObservation observation;
  std::vector<model::Finding> findings;
  Host() {
    observation.config.devices = {config_of(kNic, 4, "veth"), config_of(kTap, 1, "tun")};
    model::DeviceObservation seen{.device = kNic, .windows = {}, .changes = {}};
    seen.windows.push_back(
        {.duration = std::chrono::seconds(1), .tx = {{.queue = 0, .packets = 10000}}, .rx = {}, .sample = {}});
    observation.devices = {seen};
    model::Finding finding;
    finding.id = "tx-queue-collapse";
    finding.cause = "recorded-rx-queue";
    finding.subject = kNic;
    finding.culprits = {{model::EntityKind::dev, kTap, 0.99}};
    finding.by_recorded_queue = true;
    findings = {finding};
  }
  model::DeviceConfig& nic() { return observation.config.devices[0]; }
  model::DeviceConfig& tap() { return observation.config.devices[1]; }
  model::Finding& finding() { return findings[0]; }
  std::variant<QueueFixPlan, model::Refusal> plan(FixPlace place = FixPlace::egress) const {
    return plan_queue_fix(observation, findings, kNic, place);
  }
};

TEST(PlanQueueFix, AddsClsactAndAFilterBehindAllOthersAtTheNic) {
  Host host;
  host.nic().filters = {{.hook = model::TcFilter::Hook::egress,
                         .kind = "bpf",
                         .priority = 60000,
                         .name = "x",
                         .program_tag = {},
                         .actions = {}},
                        {.hook = model::TcFilter::Hook::ingress,
                         .kind = "u32",
                         .priority = 65535,
                         .name = {},
                         .program_tag = {},
                         .actions = {}}};
  const auto answer = host.plan();
  ASSERT_TRUE(std::holds_alternative<QueueFixPlan>(answer)) << std::get<model::Refusal>(answer).reason;
  const auto& plan = std::get<QueueFixPlan>(answer);
  ASSERT_EQ(plan.targets.size(), 1U);
  EXPECT_EQ(plan.targets[0].device, kNic);
  EXPECT_TRUE(plan.targets[0].add_clsact);
  EXPECT_EQ(plan.targets[0].hook, TcHook::egress);
  EXPECT_EQ(plan.targets[0].preference, 60001U);
  ASSERT_EQ(plan.plan.steps.size(), 2U);
  EXPECT_EQ(plan.plan.steps[0].command, "tc -n weir-host qdisc add dev nic0 clsact");
  EXPECT_EQ(plan.plan.steps[0].undo_command, "tc -n weir-host qdisc del dev nic0 clsact");
  EXPECT_THAT(plan.plan.steps[1].undo_command, HasSubstr("tc -n weir-host filter del dev nic0 egress pref 60001"));
  ASSERT_EQ(plan.plan.warnings.size(), 1U);
  EXPECT_THAT(plan.plan.warnings[0], HasSubstr("--at ingress"));
}

TEST(PlanQueueFix, UsesTheClsactThatIsThere) {
  Host host;
  host.nic().qdiscs = {{.kind = "mq", .handle = 0x10000, .parent = 0xFFFFFFFF},
                       {.kind = "clsact", .handle = 0xFFFF0000, .parent = 0xFFFFFFF1}};
  const auto answer = host.plan();
  ASSERT_TRUE(std::holds_alternative<QueueFixPlan>(answer));
  EXPECT_FALSE(std::get<QueueFixPlan>(answer).targets[0].add_clsact);
  EXPECT_EQ(std::get<QueueFixPlan>(answer).plan.steps.size(), 1U);
}

TEST(PlanQueueFix, CanWorkAtTheCulpritsIngress) {
  Host host;
  const auto answer = host.plan(FixPlace::ingress);
  ASSERT_TRUE(std::holds_alternative<QueueFixPlan>(answer));
  const auto& target = std::get<QueueFixPlan>(answer).targets.at(0);
  EXPECT_EQ(target.device, kTap);
  EXPECT_EQ(target.hook, TcHook::ingress);
  EXPECT_EQ(std::get<QueueFixPlan>(answer).plan.subject, kNic);
  host.finding().culprits.clear();
  EXPECT_TRUE(std::holds_alternative<model::Refusal>(host.plan(FixPlace::ingress)));
}

TEST(PlanQueueFix, HelpsWhereTheDriverTakesTheRecordedQueue) {
  Host host;
  host.finding().cause = "driver-select-queue";
  host.nic().driver = "ena";
  host.nic().xps_cpus = {{0}, {1}, {2}, {3}};
  const auto answer = host.plan();
  ASSERT_TRUE(std::holds_alternative<QueueFixPlan>(answer)) << std::get<model::Refusal>(answer).reason;
  EXPECT_THAT(std::get<QueueFixPlan>(answer).plan.expected_effect, HasSubstr("XPS")) << "the hash is not asked";
}

TEST(PlanQueueFix, NamesNoFileThatIsNotThere) {
  const auto answer = Host().plan();
  ASSERT_TRUE(std::holds_alternative<QueueFixPlan>(answer));
  const std::string command = std::get<QueueFixPlan>(answer).plan.steps.back().command;
  EXPECT_THAT(command, HasSubstr("# PROGRAM: weir_queue_fix, built into weir"));
  EXPECT_EQ(command.find(".o "), std::string::npos);
}

struct RefusalCase {
  const char* name;
  std::function<void(Host&)> change;
  const char* reason;
  FixPlace place = FixPlace::egress;
};

TEST(PlanQueueFix, RefusesWithAReasonAndAnAlternative) {
  const auto filter = [](Host& host, const char* name, const char* action) {
    host.nic().filters.push_back({.hook = model::TcFilter::Hook::egress,
                                  .kind = "bpf",
                                  .priority = 1,
                                  .name = name,
                                  .program_tag = {},
                                  .actions = {action}});
  };
  const auto root = [](Host& host, const char* kind) {
    host.nic().qdiscs = {{.kind = kind, .handle = 0x10000, .parent = 0xFFFFFFFF}};
  };
  const auto cause = [](const char* name) {
    return [name](Host& host) {
      host.finding().cause = name;
      host.finding().by_recorded_queue = false;
    };
  };
  const RefusalCase cases[] = {
      {"xps", cause("xps"), "the cause is xps"},
      {"forwarding-cpu", cause("forwarding-cpu"), "forwarding-cpu"},
      {"few-flows", cause("few-flows"), "few-flows"},
      {"single-flow", cause("single-flow"), "single-flow"},
      {"driver", cause("driver-select-queue"), "driver-select-queue"},
      {"one active queue", cause("one-active-queue"), "one-active-queue"},
      {"healthy", [](Host& host) { host.findings.clear(); }, "no fault in the "},
      {"silent",
       [](Host& host) {
         host.findings.clear();
         host.observation.devices.clear();
       },
       "sent no packets"},
      {"vanished", [](Host& host) { host.observation.devices[0].vanished = true; }, "went away"},
      {"not there", [](Host& host) { host.observation.config.devices.clear(); }, "is not there"},
      {"one queue", [](Host& host) { host.nic().real_tx_queues = 1; }, "one transmit queue"},
      {"multiq", [&](Host& host) { root(host, "multiq"); }, "multiq"},
      {"mqprio", [&](Host& host) { root(host, "mqprio"); }, "mqprio"},
      {"taprio", [&](Host& host) { root(host, "taprio"); }, "taprio"},
      {"classes",
       [](Host& host) {
         host.nic().traffic_classes = {{0, 2}, {2, 2}};
       },
       "traffic classes"},
      {"bond", [](Host& host) { host.nic().link_kind = "bond"; }, "is a bond"},
      {"team", [](Host& host) { host.nic().link_kind = "team"; }, "is a team"},
      {"xsk", [](Host& host) { host.nic().has_xsk = true; }, "AF_XDP"},
      {"skbedit", [&](Host& host) { filter(host, "", "skbedit"); }, "skbedit"},
      {"cilium", [&](Host& host) { filter(host, "cil_to_netdev-nic0", ""); }, "Cilium"},
      {"cilium tcx",
       [](Host& host) {
         host.nic().tcx = {{model::TcFilter::Hook::egress, 9, "cil_to_netdev"}};
       },
       "Cilium"},
      {"ours", [&](Host& host) { filter(host, "weir_queue_fix", ""); }, "already"},
      {"ingress qdisc",
       [](Host& host) {
         host.nic().qdiscs = {{"ingress", 0xFFFF0000, 0xFFFFFFF1}};
       },
       "ingress qdisc"},
      {"no room",
       [&](Host& host) {
         filter(host, "x", "");
         host.nic().filters.back().priority = 65535;
       },
       "last preference"},
      {"bond port at ingress", [](Host& host) { host.tap().master_kind = "bond"; }, "port of a bond",
       FixPlace::ingress},
      {"xsk at ingress", [](Host& host) { host.tap().has_xsk = true; }, "AF_XDP", FixPlace::ingress},
  };
  for (const RefusalCase& row : cases) {
    SCOPED_TRACE(row.name);
    Host host;
    row.change(host);
    const auto answer = host.plan(row.place);
    ASSERT_TRUE(std::holds_alternative<model::Refusal>(answer));
    EXPECT_THAT(std::get<model::Refusal>(answer).reason, HasSubstr(row.reason));
    EXPECT_FALSE(std::get<model::Refusal>(answer).instead.empty());
  }
}

model::DeviceObservation spread(std::initializer_list<std::uint64_t> packets) {
  model::DeviceObservation seen{.device = kNic, .windows = {{}}, .changes = {}};
  std::uint32_t queue = 0;
  for (const std::uint64_t count : packets) seen.windows[0].tx.push_back({.queue = queue++, .packets = count});
  return seen;
}

TEST(JudgeEffect, WantsAQuarterOfTheGapClosed) {
  const auto collapsed = spread({10000, 0, 0, 0});
  EXPECT_TRUE(judge_effect(collapsed, spread({2500, 2400, 2600, 2500}), 4).improved);
  EXPECT_FALSE(judge_effect(collapsed, collapsed, 4).improved);
  EXPECT_FALSE(judge_effect(collapsed, spread({9000, 500, 300, 200}), 4).improved);
  EXPECT_TRUE(judge_effect(spread({50, 25, 25, 0}), spread({2500, 2400, 2600, 2500}), 4).improved);
  EXPECT_FALSE(judge_effect(spread({1, 1, 1, 1}), spread({1000, 1000, 1000, 1000}), 4).improved);
}

TEST(JudgeEffect, SaysWhenThereIsTooLittleToSee) {
  const auto effect = judge_effect(spread({10000, 0}), spread({10, 10}), 2);
  EXPECT_FALSE(effect.improved);
  EXPECT_THAT(effect.verdict, HasSubstr("too few"));
  auto gone = spread({10000, 10000});
  gone.vanished = true;
  EXPECT_THAT(judge_effect(spread({10000, 0}), gone, 2).verdict, HasSubstr("went away"));
}

}  // namespace
}  // namespace weir::steer
