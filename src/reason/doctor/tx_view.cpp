#include "reason/doctor/tx_view.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "reason/doctor/thresholds.h"

namespace weir::reason {

namespace {

using model::QueueWindow;

double seconds(const QueueWindow& window) {
  return std::chrono::duration<double>(window.duration).count();
}

bool enough(const QueueWindow& window, std::uint32_t queues) {
  const std::uint64_t packets = window.tx_packets();
  const std::uint64_t needed = std::max(thresholds::kMinWindowPackets, thresholds::kMinWindowPacketsPerQueue * queues);
  return packets >= needed && seconds(window) > 0 &&
         static_cast<double>(packets) >= thresholds::kMinRatePps * seconds(window);
}

double ratio_of(const QueueWindow& window, std::uint32_t queues) {
  return model::effective_queues(window.tx) / queues;
}

void fill_load(TxView& view) {
  const auto heaviest = std::ranges::max_element(view.sum.tx, {}, &model::QueueCount::packets);
  const auto packets = static_cast<double>(view.sum.tx_packets());
  const double span = seconds(view.sum);
  view.heaviest = heaviest->queue;
  view.heaviest_share = static_cast<double>(heaviest->packets) / packets;
  view.rate_pps = packets / span;
  view.heaviest_pps = static_cast<double>(heaviest->packets) / span;
  view.heaviest_bps = 8 * static_cast<double>(heaviest->bytes) / span;
}

// An origin with packets n_q of the device's total T brings sum_q p_q*(n_q/T - P/N) of the excess sum(p^2) - 1/N, P
// being its share of all packets. An origin that spreads evenly brings nothing, however busy it is.
void fill_origins(TxView& view) {
  const auto& origins = view.sum.sample.origins;
  std::vector<double> load(view.queues, 0.0);
  double all = 0;
  for (const model::OriginCount& origin : origins) {
    for (std::size_t queue = 0; queue < origin.per_queue.size(); ++queue) {
      if (queue >= load.size()) load.resize(queue + 1);
      load[queue] += static_cast<double>(origin.per_queue[queue]);
      all += static_cast<double>(origin.per_queue[queue]);
    }
  }
  double sum = 0;
  for (const model::OriginCount& origin : origins) {
    const double even = static_cast<double>(origin.sampled()) / view.queues;
    double part = 0;
    for (std::size_t queue = 0; queue < load.size(); ++queue) {
      const double packets = queue < origin.per_queue.size() ? static_cast<double>(origin.per_queue[queue]) : 0;
      part += load[queue] * (packets - even) / (all * all);
    }
    view.origins.push_back({origin, std::max(0.0, part)});
    sum += std::max(0.0, part);
  }
  if (sum > 0) {
    for (OriginPart& origin : view.origins) origin.part /= sum;
  }
  std::ranges::stable_sort(view.origins, std::ranges::greater{}, &OriginPart::part);
}

// Within one origin rules and queues are only known apart, so its part is divided as its packets are by rule.
void fill_blame(TxView& view) {
  double known = 0;
  for (const OriginPart& origin : view.origins) {
    const auto sampled = static_cast<double>(origin.origin.sampled());
    if (sampled <= 0) continue;
    for (std::size_t rule = 0; rule < model::kQueueRuleCount; ++rule) {
      const double part = origin.part * static_cast<double>(origin.origin.per_rule[rule]) / sampled;
      view.blame[rule] += part;
      known += part;
    }
  }
  if (known > 0) return;
  for (std::size_t rule = 0; rule < model::kQueueRuleCount; ++rule) {
    view.blame[rule] = view.rule_share(static_cast<model::QueueRule>(rule));
  }
}

void fill_chance(TxView& view) {
  view.chance = 0;
  for (const QueueWindow* window : view.windows) {
    const double concentration = 1 / (ratio_of(*window, view.queues) * view.queues);
    const FlowMix flows = flow_mix({window});
    view.chance = std::max(view.chance, chance_of_concentration(flows, view.queues, concentration));
  }
}

}  // namespace

double TxView::rule_share(model::QueueRule rule) const {
  if (sum.sample.sampled == 0) return 0;
  return static_cast<double>(sum.sample.chosen_by[static_cast<std::size_t>(rule)]) /
         static_cast<double>(sum.sample.sampled);
}

double TxView::forwarded_share() const {
  double forwarded = 0;
  double all = 0;
  for (const model::OriginCount& origin : sum.sample.origins) {
    const auto sampled = static_cast<double>(origin.sampled());
    all += sampled;
    if (origin.origin.ifindex.value != 0) forwarded += sampled;
  }
  return all > 0 ? forwarded / all : 0;
}

std::uint32_t TxView::cpus() const {
  return std::max(host->config.online_cpus, static_cast<std::uint32_t>(std::ranges::count_if(
                                                sum.sample.cpus, [](std::uint64_t packets) { return packets > 0; })));
}

std::size_t TxView::queues_in_use() const {
  const double least = thresholds::kQueueInUseShare * static_cast<double>(sum.tx_packets());
  return static_cast<std::size_t>(std::ranges::count_if(sum.tx, [&](const model::QueueCount& count) {
    return count.packets > 0 && static_cast<double>(count.packets) >= least;
  }));
}

bool TxView::heavy() const {
  return heaviest_pps >= thresholds::kHeavyQueuePps || heaviest_bps >= thresholds::kHeavyQueueBps;
}

std::optional<TxView> view_tx(const model::HostObservation& host, const model::DeviceObservation& seen,
                              const model::DeviceConfig& config) {
  TxView view{.host = &host, .seen = &seen, .config = &config, .queues = config.real_tx_queues};
  std::vector<const QueueWindow*> full;
  for (const QueueWindow& window : seen.windows) {
    if (enough(window, view.queues)) full.push_back(&window);
  }
  if (view.queues == 0 || full.size() < thresholds::kWindows) return std::nullopt;
  view.windows.assign(full.end() - static_cast<std::ptrdiff_t>(thresholds::kWindows), full.end());
  std::vector<QueueWindow> judged;
  for (const QueueWindow* window : view.windows) {
    judged.push_back(*window);
    view.ratio = std::max(view.ratio, ratio_of(*window, view.queues));
  }
  view.sum = model::total(judged);
  view.effective = model::effective_queues(view.sum.tx);
  fill_load(view);
  if (view.sum.sample.sampled < thresholds::kMinSampled) return std::nullopt;
  view.flows = flow_mix(view.windows);
  if (view.ratio >= thresholds::kSkewRatio) return view;
  const auto as_uneven = std::ranges::count_if(
      full, [&](const QueueWindow* window) { return ratio_of(*window, view.queues) < thresholds::kSkewRatio; });
  view.agreement = static_cast<double>(as_uneven) / static_cast<double>(full.size());
  fill_origins(view);
  fill_blame(view);
  fill_chance(view);
  return view;
}

}  // namespace weir::reason
