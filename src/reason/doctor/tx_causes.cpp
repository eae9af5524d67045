#include "reason/doctor/tx_causes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "reason/doctor/thresholds.h"

namespace weir::reason {

namespace {

using model::QueueRule;

// A queue chosen by another rule equals the hash's choice once in N: what looks unexplained is that much more.
double unexplained_blame(const TxView& view) {
  const double queues = view.queues;
  return std::min(1.0, view.rule_blame(QueueRule::unexplained) * queues / (queues - 1));
}

// A socket keeps the queue that XPS gave it (sk_tx_queue_mapping), so where there is a map it is XPS that chose.
double xps_blame(const TxView& view) {
  return view.rule_blame(QueueRule::xps) + (view.config->has_xps() ? view.rule_blame(QueueRule::socket) : 0);
}

// No rule of the core was seen to give the queue: a recorded queue by elimination, else the driver.
std::optional<TxCause> unexplained_cause(const TxView& view) {
  if (auto cause = recorded_cause(view)) return cause;
  return driver_cause(view);
}

struct Candidate {
  double blame;
  std::optional<TxCause> (*decide)(const TxView&);
};

}  // namespace

std::optional<TxCause> decide_tx_cause(const TxView& view) {
  if (view.chance > thresholds::kChance) return load_cause(view);
  if (auto cause = prio_map_cause(view)) return cause;
  // In the kernel's order, which decides between equals. Hashing is never the cause of what it cannot produce.
  std::array<Candidate, 4> candidates = {Candidate{view.rule_blame(QueueRule::driver), unexplained_cause},
                                         Candidate{xps_blame(view), xps_cause},
                                         Candidate{view.rule_blame(QueueRule::recorded), recorded_cause},
                                         Candidate{unexplained_blame(view), unexplained_cause}};
  std::ranges::stable_sort(candidates, std::ranges::greater{}, &Candidate::blame);
  if (candidates.front().blame < thresholds::kMinExplained) return std::nullopt;
  return candidates.front().decide(view);
}

std::optional<TxCause> load_cause(const TxView& view) {
  const bool busy =
      view.heaviest_pps >= thresholds::kFlowVerdictQueuePps || view.heaviest_bps >= thresholds::kFlowVerdictQueueBps;
  if (!busy || view.heaviest_share < thresholds::kFlowVerdictQueueShare || view.flows.weights.empty()) {
    return std::nullopt;
  }
  TxCause cause{.fault = false, .certainty = 0.97};
  const double surely = view.flows.top_share - thresholds::kFlowSamplingErrors * view.flows.top_share_error;
  if (surely > thresholds::kSingleFlowShare) {
    cause.name = "single-flow";
    cause.because = fmt::format("one flow carries {:.0f} % of the packets", 100 * view.flows.top_share);
    cause.mechanism = "skb_tx_hash() gives one flow one hash and so one queue, to keep its packets in order.";
    cause.advice =
        "Split the load over more connections (parallel streams, MPTCP), or give a tunnel a hashed UDP source port; no "
        "setting of this host can spread one flow.";
  } else {
    const double best = 1 / (expected_concentration(view.flows, view.queues) * view.queues);
    if (best >= thresholds::kSkewRatio) return std::nullopt;
    cause.name = "few-flows";
    cause.because = fmt::format("{} flows are too few to fill them", view.flows.distinct);
    cause.mechanism =
        fmt::format("skb_tx_hash() gives each flow one queue; {} flows on {} queues leave some empty by chance.",
                    view.flows.distinct, view.queues);
    cause.advice = "Nothing is broken: more concurrent connections fill more queues. Fewer queues save interrupts.";
  }
  if (view.rule_blame(QueueRule::recorded) > 0.5) {
    cause.notes.emplace_back(
        "Most of these packets also carry a recorded receive queue, which would keep more flows on the same queue: "
        "look "
        "again when there are more.");
  }
  return cause;
}

std::optional<TxCause> prio_map_cause(const TxView& view) {
  const auto& classes = view.config->traffic_classes;
  if (classes.size() < 2 || view.rule_blame(QueueRule::recorded) > 0.5) return std::nullopt;
  const auto packets = static_cast<double>(view.sum.tx_packets());
  for (std::size_t index = 0; index < classes.size(); ++index) {
    const model::TrafficClass& range = classes[index];
    std::vector<model::QueueCount> inside;
    double inside_packets = 0;
    for (const model::QueueCount& count : view.sum.tx) {
      if (count.queue < range.offset || count.queue >= range.offset + range.count) continue;
      inside.push_back(count);
      inside_packets += static_cast<double>(count.packets);
    }
    const double share = inside_packets / packets;
    if (range.count >= view.queues || share < thresholds::kTrafficClassShare) continue;
    if (model::effective_queues(inside) / range.count < thresholds::kSkewRatio) continue;
    TxCause cause{.name = "prio-map", .explained = share, .certainty = 0.95};
    cause.because = fmt::format("{:.0f} % of them have a priority that maps to traffic class {}, which has {} queue{}",
                                100 * share, index, range.count, range.count == 1 ? "" : "s");
    cause.mechanism =
        "netdev_pick_tx() chooses only among the queues of the traffic class that the map gives for skb->priority.";
    cause.advice = fmt::format(
        "Look at the map (`tc qdisc show dev {}`), then give class {} more queues or send by other priorities "
        "(tc-mqprio(8): map and queues).",
        view.config->ref.name, index);
    cause.evidence.push_back(
        {"share in traffic class " + std::to_string(index), 100 * share, "pct", 100.0 * range.count / view.queues});
    return cause;
  }
  return std::nullopt;
}

}  // namespace weir::reason
