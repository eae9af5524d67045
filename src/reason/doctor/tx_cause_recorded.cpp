// recorded-rx-queue and driver-select-queue: the queue was chosen before hash and XPS were asked.
#include <fmt/format.h>

#include <algorithm>

#include "reason/doctor/changed_at.h"
#include "reason/doctor/drivers.h"
#include "reason/doctor/thresholds.h"
#include "reason/doctor/tx_causes.h"
#include "reason/doctor/tx_scope.h"
#include "reason/doctor/words.h"

namespace weir::reason {

namespace {

using model::DeviceConfig;
using model::QueueRule;

struct Recorders {
  std::vector<model::Culprit> culprits;  ///< largest share first
  double recorded = 0;                   ///< packets with a recorded queue
};

std::uint64_t of_rule(const model::OriginCount& origin, QueueRule rule) {
  return origin.per_rule[static_cast<std::size_t>(rule)];
}

// Those whose recorded packets make the imbalance. A device that records evenly over many queues is no culprit, and a
// local socket's packets never carry a receive queue.
Recorders recorders(const TxView& view, QueueRule rule) {
  Recorders found;
  for (const OriginPart& part : view.origins) found.recorded += static_cast<double>(of_rule(part.origin, rule));
  for (const OriginPart& part : view.origins) {
    const auto recorded = static_cast<double>(of_rule(part.origin, rule));
    if (part.origin.origin.ifindex.value == 0 || recorded <= 0 || part.part < thresholds::kMinCulpritPart) continue;
    const double share = recorded / found.recorded;
    const auto ports = bridge_ports(view.host->config, *view.seen, part.origin.origin);
    if (ports.empty()) found.culprits.push_back({model::EntityKind::dev, part.origin.origin, share});
    for (const auto& [port, of_bridge] : ports) {
      if (of_bridge >= thresholds::kMinCulpritPart) {
        found.culprits.push_back({model::EntityKind::dev, port, share * of_bridge});
      }
    }
  }
  std::ranges::stable_sort(found.culprits, std::ranges::greater{}, &model::Culprit::share);
  return found;
}

// A NIC with several receive queues that forwards keeps its own spread: queue k in, queue k out, each on the CPU of its
// interrupt. That is what the recorded queue is for (skb_record_rx_queue()), as long as all of it is used.
bool keeps_hardware_spread(const TxView& view, const Recorders& found) {
  std::uint32_t most = 0;
  for (const model::Culprit& culprit : found.culprits) {
    const DeviceConfig* config = view.host->config.find(culprit.device);
    if (config == nullptr || config->bus_info.empty() || config->real_rx_queues < 2) return false;
    most = std::max(most, config->real_rx_queues);
  }
  return most > 0 && view.effective >= thresholds::kSkewRatio * std::min(most, view.queues);
}

std::string origin_note(const TxView& view, const model::DeviceRef& device) {
  const model::HostConfig& host = view.host->config;
  const DeviceConfig* config = host.find(device);
  if (config == nullptr) return "";
  if ((config->link_kind == "tun" || config->driver == "tun") && config->real_tx_queues == 1) {
    return fmt::format(
        "{} has one queue, so tun_get_user() records receive queue 0 in every packet; a tap with several queues "
        "spreads "
        "them.",
        to_string(device));
  }
  const auto peer = peer_of(host, device);
  const DeviceConfig* sender = peer ? host.find(*peer) : nullptr;
  if (config->link_kind != "veth" || sender == nullptr || sender->real_tx_queues < 2) return "";
  for (std::size_t queue = 1; queue < sender->xps_cpus.size(); ++queue) {
    if (sender->xps_cpus[queue].empty()) continue;
    return fmt::format("{} chooses its own tx queue {} by XPS for CPUs {}; veth carries the choice over.",
                       to_string(*peer), queue, words::list_of(sender->xps_cpus[queue]));
  }
  return fmt::format("{} has {} tx queues; its choice of queue k arrives as \"received on queue k-1\".",
                     to_string(*peer), sender->real_tx_queues);
}

// The tc egress hook runs before ndo_select_queue is asked (__dev_queue_xmit()).
std::string advice_until(const DriverChoice& driver) {
  return "To mend it for good: " + driver.remedy + ". Until then clear the recorded queue at the device's egress.";
}

void name_the_rule(const TxView& view, TxCause& cause) {
  const DriverChoice driver = driver_choice(view.config->driver, view.host->config.kernel);
  cause.name = "recorded-rx-queue";
  cause.mechanism = fmt::format(
      "skb_tx_hash() takes the recorded receive queue modulo {} instead of the flow hash: one recorded value, one "
      "queue.",
      view.queues);
  if (!driver.recorded_first) return;
  cause.notes.push_back(driver.why + ".");
  if (!view.config->has_xps()) return;
  // The core would have asked the XPS map: it is the driver that makes the recorded queue count.
  cause.name = "driver-select-queue";
  cause.mechanism = driver.why + "; the XPS maps of the device are never asked.";
  cause.notes.pop_back();
  cause.advice = advice_until(driver);
}

// What speaks for a recorded queue: that it was read, else that nothing else explains the queue. A driver that wraps
// netdev_pick_tx() follows the core, so what the observer puts down to it is unexplained as well.
QueueRule witness(const TxView& view) {
  const bool wraps = driver_choice(view.config->driver, view.host->config.kernel).wraps_core;
  QueueRule best = QueueRule::recorded;
  if (view.rule_blame(QueueRule::unexplained) > view.rule_blame(best)) best = QueueRule::unexplained;
  if (wraps && view.rule_blame(QueueRule::driver) > view.rule_blame(best)) best = QueueRule::driver;
  return best;
}

}  // namespace

std::optional<TxCause> recorded_cause(const TxView& view) {
  const QueueRule rule = witness(view);
  const bool seen = rule == QueueRule::recorded;
  if (view.rule_blame(rule) < thresholds::kMinExplained) return std::nullopt;
  const Recorders found = recorders(view, rule);
  if (found.culprits.empty() || keeps_hardware_spread(view, found)) return std::nullopt;
  const model::DeviceRef& first = found.culprits.front().device;
  const auto change = recording_change(view.host->config, *view.seen, first);
  TxCause cause{
      .recorded = true, .explained = view.rule_blame(rule), .certainty = view.seen->before_pick_seen ? 1 : 0.97};
  if (!seen) {
    const bool constant = view.heaviest_share >= thresholds::kConstantQueueShare;
    const bool other_maps = view.config->has_xps() || !view.config->traffic_classes.empty();
    // Where the value before the choice was read and still explains nothing, only the followed path can tell.
    const bool segmented = view.seen->before_pick_seen && change;
    if ((view.seen->before_pick_seen && !change) || other_maps || !(constant || change)) return std::nullopt;
    // Once in N the constant queue is also the one that the hash would have chosen.
    cause.explained = std::min(1.0, cause.explained * view.queues / (view.queues - 1));
    cause.certainty = segmented ? 0.97 : change ? 0.9 : 0.75;
    cause.notes.emplace_back(
        segmented
            ? "Most of these packets were cut into segments behind the queue choice (GSO), where the recorded queue "
              "is no longer with them: the path that they were followed on shows it."
            : "The value before the queue choice could not be read on this kernel: a recorded queue is what remains "
              "after hash, XPS and socket are ruled out.");
  }
  cause.because = fmt::format("{} record{} a receive queue in them", words::devices_of(found.culprits),
                              found.culprits.size() == 1 ? "s" : "");
  name_the_rule(view, cause);
  cause.culprits = found.culprits;
  cause.changed_at = changed_at(view.host->config, *view.seen, first);
  const double recorded = found.recorded / static_cast<double>(view.sum.sample.sampled);
  cause.evidence.push_back({seen ? "packets with a recorded rx queue" : "packets that no rule seen explains",
                            100 * recorded, "pct", std::nullopt});
  if (std::string note = origin_note(view, first); !note.empty()) cause.notes.push_back(std::move(note));
  return cause;
}

std::optional<TxCause> driver_cause(const TxView& view) {
  const DriverChoice driver = driver_choice(view.config->driver, view.host->config.kernel);
  if (view.config->driver.empty() || !driver.has_own_choice) return std::nullopt;
  const double named = view.rule_blame(QueueRule::driver);
  const double blame = std::max(named, view.rule_blame(QueueRule::unexplained));
  TxCause cause{.name = "driver-select-queue", .explained = blame};
  cause.certainty = driver.recorded_first ? 0.95 : named >= thresholds::kMinExplained ? 0.85 : 0.6;
  cause.because = fmt::format("the driver {} chooses them itself", view.config->driver);
  cause.mechanism = driver.why.empty()
                        ? fmt::format(
                              "netdev_core_pick_tx() asks ndo_select_queue() of {} and the core's rules do not "
                              "give these queues.",
                              view.config->driver)
                        : driver.why + ".";
  cause.advice =
      driver.remedy.empty()
          ? fmt::format("Look for queue settings of the driver: `ethtool --show-priv-flags {}`, `ethtool -l {}`.",
                        view.config->ref.name, view.config->ref.name)
          : "To mend it for good: " + driver.remedy + ".";
  if (driver.recorded_first) {
    // Packets that another device received, placed otherwise than by the core: by what such a driver asks first. Those
    // of local sockets carry no receive queue.
    const Recorders found = recorders(view, QueueRule::driver);
    if (keeps_hardware_spread(view, found)) return std::nullopt;
    cause.culprits = found.culprits;
    if (!cause.culprits.empty()) {
      cause.recorded = true;
      cause.advice = advice_until(driver);
      cause.changed_at = changed_at(view.host->config, *view.seen, cause.culprits.front().device);
    }
  }
  cause.evidence.push_back(
      {"packets placed by the driver", 100 * view.rule_share(QueueRule::driver), "pct", std::nullopt});
  return cause;
}

}  // namespace weir::reason
