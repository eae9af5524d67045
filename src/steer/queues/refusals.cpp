#include "steer/queues/refusals.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/units.h"
#include "steer/queues/tc_changes.h"

namespace weir::steer {

using model::DeviceConfig;
using model::Finding;
using model::Refusal;

namespace {

constexpr std::uint32_t kLastPreference = 0xFFFF;  // a preference has 16 bits

/// What helps with the other causes, where the finding itself has no advice.
std::string instead_of(const std::string& cause) {
  if (cause == "xps") return "give every CPU a transmit queue of its own in xps_cpus, or clear the XPS map";
  if (cause == "forwarding-cpu") return "spread receive processing over CPUs (RPS, or RSS and IRQ affinity)";
  if (cause == "few-flows") return "use more flows: a flow stays on one queue so that its packets keep their order";
  if (cause == "single-flow") return "one flow cannot be spread; split it in the application, or use MPTCP";
  if (cause == "driver-select-queue") return "update the driver or the kernel: the driver chooses the queue itself";
  if (cause == "one-active-queue") return "turn more queues on: ethtool -L DEV combined N";
  if (cause == "prio-map")
    return "map priorities to more traffic classes, or give the class more queues (tc qdisc mqprio)";
  return "see weir doctor";
}

bool uses_queues_by_number(const std::string& qdisc) {
  return qdisc == "multiq" || qdisc == "mqprio" || qdisc == "taprio";
}

bool is_ciliums(const std::string& program) {
  return program.starts_with("cil_");
}

std::optional<Refusal> refuse_filters(const DeviceConfig& device) {
  for (const model::TcFilter& filter : device.filters) {
    if (std::ranges::find(filter.actions, "skbedit") != filter.actions.end()) {
      return Refusal{
          fmt::format("a filter of {} (pref {}) has an skbedit action, which may choose the queue on purpose",
                      to_string(device.ref), filter.priority),
          "remove the queue_mapping part of that filter if it is the cause"};
    }
  }
  const auto filter = std::ranges::find_if(device.filters, is_ciliums, &model::TcFilter::name);
  const auto tcx = std::ranges::find_if(device.tcx, is_ciliums, &model::TcxProgram::name);
  if (filter == device.filters.end() && tcx == device.tcx.end()) return std::nullopt;
  const std::string& name = filter != device.filters.end() ? filter->name : tcx->name;
  return Refusal{
      fmt::format("Cilium's program {} runs on {}, and its bandwidth manager keeps endpoints in queue_mapping", name,
                  to_string(device.ref)),
      "update Cilium: since 1.11 it clears recorded queues itself (cilium/cilium #18388)"};
}

}  // namespace

const Finding* tx_finding(const std::vector<Finding>& findings, const model::DeviceRef& device) {
  const auto found = std::ranges::find_if(findings, [&device](const Finding& finding) {
    return finding.subject == device && (finding.id == "tx-queue-collapse" || finding.id == "tx-queue-skew");
  });
  return found == findings.end() ? nullptr : &*found;
}

std::optional<Refusal> refuse_cause(const model::HostObservation& observation, const std::vector<Finding>& findings,
                                    const DeviceConfig& device) {
  const std::string name = to_string(device.ref);
  const auto seen = std::ranges::find(observation.devices, device.ref, &model::DeviceObservation::device);
  if (seen != observation.devices.end() && seen->vanished) {
    return Refusal{name + " went away while it was watched", "try again when it is back"};
  }
  if (device.real_tx_queues <= 1) {
    return Refusal{name + " has one transmit queue in use: there is nothing to spread packets over",
                   "turn more queues on if it has them: ethtool -L DEV combined N"};
  }
  const auto ours = std::ranges::find_if(
      device.filters, [](const std::string& filter) { return filter == kQueueFixName; }, &model::TcFilter::name);
  if (ours != device.filters.end()) {
    return Refusal{name + " has the mitigation already",
                   fmt::format("to take it back: weir queues undo {} --apply", name)};
  }
  const Finding* finding = tx_finding(findings, device.ref);
  if (finding == nullptr) {
    const std::uint64_t packets = seen == observation.devices.end() ? 0 : total(seen->windows).tx_packets();
    if (packets == 0) {
      return Refusal{name + " sent no packets while it was watched: there is nothing to judge by",
                     "run it while the traffic flows, or watch for longer (--for 30s)"};
    }
    return Refusal{
        fmt::format("{} shows no fault in the {} packets that it sent while it was watched", name,
                    format_count(static_cast<double>(packets))),
        fmt::format("weir queues show {} gives the numbers; it takes some hundred packets a second to judge", name)};
  }
  if (!finding->by_recorded_queue) {
    return Refusal{
        fmt::format("the cause is {}, not a recorded receive queue: clearing it would change nothing", finding->cause),
        finding->fix.advice.empty() ? instead_of(finding->cause) : finding->fix.advice};
  }
  return std::nullopt;
}

std::optional<Refusal> refuse_on_purpose(const DeviceConfig& device) {
  const std::string name = to_string(device.ref);
  const auto by_number = std::ranges::find_if(device.qdiscs, uses_queues_by_number, &model::Qdisc::kind);
  if (by_number != device.qdiscs.end()) {
    return Refusal{fmt::format("the {} qdisc of {} uses the queue numbers on purpose", by_number->kind, name),
                   "change what its classes and filters choose: tc qdisc show, tc filter show"};
  }
  if (!device.traffic_classes.empty()) {
    return Refusal{name + " has traffic classes: priorities choose the range of queues on purpose",
                   instead_of("prio-map")};
  }
  if (device.link_kind == "bond" || device.link_kind == "team") {
    return Refusal{
        fmt::format("{} is a {}: queue_mapping may choose the port there (queue_id)", name, device.link_kind),
        "apply it to the ports instead: weir queues fix NETNS/PORT"};
  }
  if (device.has_xsk) {
    return Refusal{"an AF_XDP socket is bound to a queue of " + name + ": queues are assigned on purpose",
                   "leave that queue out of the others' way with RSS and XPS (ethtool -X, xps_cpus)"};
  }
  return refuse_filters(device);
}

std::optional<Refusal> refuse_hook(const DeviceConfig& device, TcHook hook) {
  const std::string name = to_string(device.ref);
  if (std::ranges::find(device.qdiscs, "ingress", &model::Qdisc::kind) != device.qdiscs.end()) {
    return Refusal{
        name + " has an ingress qdisc, which sits where clsact has to be",
        "replace it: clsact takes the same filters (tc qdisc del dev DEV ingress; tc qdisc add dev DEV clsact)"};
  }
  const auto wanted = hook == TcHook::ingress ? model::TcFilter::Hook::ingress : model::TcFilter::Hook::egress;
  for (const model::TcFilter& filter : device.filters) {
    if (filter.hook != wanted) continue;
    if (filter.name == kQueueFixName) {
      return Refusal{fmt::format("{} has the mitigation at its {} already", name, to_string(hook)),
                     "take it back first: weir queues undo, with the device it was made for"};
    }
    if (filter.priority == kLastPreference) {
      return Refusal{fmt::format("the {} of {} has a filter at the last preference: nothing can run behind it",
                                 to_string(hook), name),
                     "move that filter to a lower preference"};
    }
  }
  return std::nullopt;
}

}  // namespace weir::steer
