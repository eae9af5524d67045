#include "steer/queues/plan_queue_fix.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "steer/queues/refusals.h"
#include "steer/queues/tc_changes.h"

namespace weir::steer {

using model::DeviceConfig;
using model::Refusal;
using Answer = std::variant<QueueFixPlan, Refusal>;

namespace {

// tc(8) hands out preferences from 49152 down when none is given; ours stands behind all of those.
constexpr std::uint32_t kPreference = 50000;

model::TcFilter::Hook model_hook(TcHook hook) {
  return hook == TcHook::ingress ? model::TcFilter::Hook::ingress : model::TcFilter::Hook::egress;
}

FixTarget target_at(const DeviceConfig& device, TcHook hook) {
  FixTarget target{device.ref, hook, true, kPreference};
  target.add_clsact = std::ranges::find(device.qdiscs, "clsact", &model::Qdisc::kind) == device.qdiscs.end();
  for (const model::TcFilter& filter : device.filters) {
    if (filter.hook == model_hook(hook)) target.preference = std::max(target.preference, filter.priority + 1);
  }
  return target;
}

/// A filter or program that ends the classification (TC_ACT_OK and the like) keeps ours from running; from outside one
/// cannot see which verdicts it returns.
void warn_of_terminal(const DeviceConfig& device, TcHook hook, bool at_egress, std::vector<std::string>& warnings) {
  const auto filters = std::ranges::count(device.filters, model_hook(hook), &model::TcFilter::hook);
  const auto programs = std::ranges::count(device.tcx, model_hook(hook), &model::TcxProgram::hook);
  if (filters + programs == 0) return;
  warnings.push_back(
      fmt::format("{} has {} other filter(s) at its {}: where one of them decides about a packet for good, "
                  "ours does not see it{}",
                  to_string(device.ref), filters + programs, to_string(hook),
                  at_egress ? "; --at ingress puts ours at the culprit instead" : ""));
}

/// The devices to work on: the NIC, or those that the culprits' packets come in by.
std::variant<std::vector<const DeviceConfig*>, Refusal> devices_for(const model::HostConfig& config,
                                                                    const model::Finding& finding,
                                                                    const DeviceConfig& nic, FixPlace place) {
  if (place == FixPlace::egress) return std::vector{&nic};
  std::vector<const DeviceConfig*> devices;
  for (const model::Culprit& culprit : finding.culprits) {
    const DeviceConfig* device = culprit.kind == model::EntityKind::dev && culprit.device.ifindex.value != 0
                                     ? config.find(culprit.device)
                                     : nullptr;
    if (device != nullptr) devices.push_back(device);
  }
  if (devices.empty()) {
    return Refusal{"no device is known by whose ingress the packets with the recorded queue come in",
                   "clear it where they leave: --at egress"};
  }
  return devices;
}

std::optional<Refusal> refuse_target(const DeviceConfig& device, TcHook hook) {
  if (auto refusal = refuse_on_purpose(device)) return refusal;
  if (hook == TcHook::ingress && (device.master_kind == "bond" || device.master_kind == "team")) {
    return Refusal{fmt::format("{} is a port of a {}, which may read queue_mapping further on", to_string(device.ref),
                               device.master_kind),
                   "clear it where the packets leave: --at egress"};
  }
  return refuse_hook(device, hook);
}

model::Plan describe(const DeviceConfig& nic) {
  model::Plan plan{
      .kind = kQueueFixPlan,
      .subject = nic.ref,
      .title = fmt::format("clear the recorded receive queue of packets that leave by {}", to_string(nic.ref)),
      .steps = {},
      .expected_effect =
          nic.has_xps()
              ? fmt::format("packets spread over the {} transmit queues as XPS maps their CPUs", nic.real_tx_queues)
              : fmt::format("flows spread over all {} transmit queues by their hash", nic.real_tx_queues),
      .warnings = {}};
  if (nic.has_xps()) {
    plan.warnings.push_back(to_string(nic.ref) +
                            " has an XPS map: packets without a recorded queue go by the sending CPU");
  }
  return plan;
}

}  // namespace

Answer plan_queue_fix(const model::HostObservation& observation, const std::vector<model::Finding>& findings,
                      const model::DeviceRef& device, FixPlace place) {
  const DeviceConfig* nic = observation.config.find(device);
  if (nic == nullptr) return Refusal{to_string(device) + " is not there", "weir queues show lists the devices"};
  if (auto refusal = refuse_cause(observation, findings, *nic)) return *std::move(refusal);
  if (auto refusal = refuse_on_purpose(*nic)) return *std::move(refusal);
  const model::Finding& finding = *tx_finding(findings, device);

  auto devices = devices_for(observation.config, finding, *nic, place);
  if (auto* refusal = std::get_if<Refusal>(&devices)) return std::move(*refusal);
  const TcHook hook = place == FixPlace::egress ? TcHook::egress : TcHook::ingress;
  QueueFixPlan answer;
  std::vector<std::string> warnings;
  for (const DeviceConfig* target : std::get<0>(devices)) {
    if (auto refusal = refuse_target(*target, hook)) return *std::move(refusal);
    answer.targets.push_back(target_at(*target, hook));
    warn_of_terminal(*target, hook, place == FixPlace::egress, warnings);
  }
  answer.plan = describe(*nic);
  answer.plan.warnings.insert(answer.plan.warnings.end(), warnings.begin(), warnings.end());
  for (const auto& change : changes_of(answer)) answer.plan.steps.push_back(change->words());
  return answer;
}

Changes changes_of(const QueueFixPlan& plan) {
  Changes changes;
  for (const FixTarget& target : plan.targets) {
    if (target.add_clsact) changes.push_back(add_clsact_change(target.device));
    changes.push_back(add_queue_fix_change(target.device, target.hook, target.preference));
  }
  return changes;
}

}  // namespace weir::steer
