// one-active-queue: hardware that could send by several queues and is set up to use one.
#include <fmt/format.h>

#include <algorithm>

#include "reason/doctor/thresholds.h"
#include "reason/doctor/tx_queues.h"
#include "reason/doctor/tx_view.h"
#include "reason/doctor/words.h"

namespace weir::reason {

namespace {

// Queues that the hardware could use: channels where the driver tells them, else what was allocated.
std::uint32_t possible_queues(const model::DeviceConfig& config) {
  if (config.max_combined_channels > 0) {
    return config.combined_channels == 1 ? config.max_combined_channels : config.real_tx_queues;
  }
  return config.num_tx_queues;
}

model::Finding finding_of(const TxView& view, std::uint32_t could) {
  const std::uint32_t useful = std::min(could, view.cpus());
  model::Finding finding;
  finding.id = "tx-queue-collapse";
  finding.severity = view.heavy() ? model::Severity::critical : model::Severity::warning;
  finding.title =
      fmt::format("{} sends by its only active transmit queue, of {} that it has", to_string(view.config->ref), could);
  finding.cause = "one-active-queue";
  finding.mechanism = "netdev_core_pick_tx() gives queue 0 when real_num_tx_queues is 1, whatever hash and XPS say.";
  finding.subject = view.config->ref;
  finding.evidence = {{"tx queues in use", 1, "queues", static_cast<double>(useful)},
                      {"effective tx queues if these flows were hashed", 1 / expected_concentration(view.flows, useful),
                       "queues", std::nullopt},
                      {"tx packet rate", view.rate_pps, "pps", std::nullopt},
                      {"distinct flows", static_cast<double>(view.flows.distinct), "flows", std::nullopt},
                      {"packets examined", static_cast<double>(view.sum.sample.sampled), "packets", std::nullopt}};
  finding.confidence = 0.95;
  finding.fix.advice =
      fmt::format("Turn them on: {} (take back with combined 1). The device resets: traffic stops for a moment.",
                  words::command_in(view.config->ref.netns,
                                    fmt::format("ethtool -L {} combined {}", view.config->ref.name, useful)));
  for (model::Evidence& row : finding.evidence) row.value = words::rounded(row.value);
  return finding;
}

}  // namespace

std::vector<Ranked> find_one_active_queue(const model::HostObservation& host) {
  std::vector<Ranked> found;
  for (const model::DeviceObservation& device : host.devices) {
    const model::DeviceConfig* config = host.config.find(device.device);
    if (config == nullptr || device.vanished || config->loopback || config->bus_info.empty()) continue;
    const std::uint32_t could = possible_queues(*config);
    if (config->real_tx_queues != 1 || could < 2) continue;
    const auto view = view_tx(host, device, *config);
    if (!view || view->cpus() < 2 || view->flows.weights.empty()) continue;
    const bool busy = view->rate_pps >= thresholds::kOneQueueRatePps || view->heavy();
    // With one flow, or one that dwarfs the rest, more queues would stay empty.
    const bool useful = 1 / expected_concentration(view->flows, 2) >= thresholds::kSkewRatio * 2;
    if (busy && useful) found.push_back({finding_of(*view, could), view->rate_pps});
  }
  return found;
}

}  // namespace weir::reason
