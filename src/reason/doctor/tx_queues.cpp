#include "reason/doctor/tx_queues.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reason/doctor/thresholds.h"
#include "reason/doctor/tx_causes.h"
#include "reason/doctor/tx_scope.h"
#include "reason/doctor/tx_view.h"
#include "reason/doctor/words.h"

namespace weir::reason {

namespace {

using model::Finding;
using model::Severity;

bool collapsed(const TxView& view) {
  return view.ratio < thresholds::kCollapseRatio + thresholds::kRatioSlack;
}

Severity severity_of(const TxView& view, const TxCause& cause) {
  if (!cause.fault) return view.heavy() ? Severity::warning : Severity::info;
  if (!collapsed(view) || view.rate_pps < thresholds::kCriticalRatePps) return Severity::warning;
  // One forwarding CPU is how reception is set up: slow only when that CPU has much to do.
  return cause.name != "forwarding-cpu" || view.heavy() ? Severity::critical : Severity::warning;
}

// What can be doubted: that the rule explains it all, that it is stable, that chance is ruled out, the sample's size.
double confidence_of(const TxView& view, const TxCause& cause) {
  double confidence = cause.certainty * (1 - 0.2 * (1 - std::min(1.0, cause.explained)));
  confidence *= 1 - 0.2 * (1 - view.agreement);
  confidence *= 1 - 0.5 / std::sqrt(static_cast<double>(view.sum.sample.sampled));
  if (cause.fault) {
    const double decades = -std::log10(std::max(view.chance, 1e-12));
    confidence *= 0.95 + 0.05 * std::min(1.0, decades / 12);
  }
  return std::min(thresholds::kMaxConfidence, confidence);
}

std::string title_of(const TxView& view, const TxCause& cause) {
  const std::size_t used = view.queues_in_use();
  if (cause.name == "few-flows" && used > 1) {
    return fmt::format("{} sends by {} of its {} transmit queues: {}", to_string(view.config->ref), used, view.queues,
                       cause.because);
  }
  const double percent = 100 * view.heaviest_share;
  const std::string part = used == 1      ? ""
                           : percent > 99 ? "more than 99 % of its packets "
                                          : fmt::format("{:.0f} % of its packets ", percent);
  return fmt::format("{} sends {}by 1 of its {} transmit queues: {}", to_string(view.config->ref), part, view.queues,
                     cause.because);
}

std::vector<model::Evidence> evidence_of(const TxView& view, const TxCause& cause) {
  const double all = view.queues;
  const double hashed = 1 / expected_concentration(view.flows, view.queues);
  std::vector<model::Evidence> rows = {
      {"effective tx queues", view.effective, "queues", all},
      {"effective tx queues if these flows were hashed", hashed, "queues", std::nullopt},
      {"tx queues in use", static_cast<double>(view.queues_in_use()), "queues", all},
      {fmt::format("share of tx queue {}", view.heaviest), 100 * view.heaviest_share, "pct", 100 / all},
      {"tx packet rate", view.rate_pps, "pps", std::nullopt},
  };
  rows.insert(rows.end(), cause.evidence.begin(), cause.evidence.end());
  rows.push_back({"distinct flows", static_cast<double>(view.flows.distinct), "flows", std::nullopt});
  rows.push_back({"share of the heaviest flow", 100 * view.flows.top_share, "pct", std::nullopt});
  rows.push_back({"packets examined", static_cast<double>(view.sum.sample.sampled), "packets", std::nullopt});
  for (model::Evidence& row : rows) row.value = words::rounded(row.value);
  return rows;
}

model::Fix fix_of(const TxView& view, const TxCause& cause) {
  model::Fix fix{.command = {}, .undo = {}, .advice = cause.advice};
  if (cause.recorded) {
    fix.command = fmt::format("weir queues fix {} --apply", to_string(view.config->ref));
    fix.undo = fmt::format("weir queues undo {} --apply", to_string(view.config->ref));
  }
  return fix;
}

void add_blind_spots(const TxView& view, Finding& finding) {
  const model::Accounting& accounting = view.host->accounting;
  if (accounting.packets_lost * 100 > accounting.packets_seen) {
    finding.notes.push_back(fmt::format("{} of {} packets could not be counted: the tables were full.",
                                        accounting.packets_lost, accounting.packets_seen));
    finding.confidence *= 0.9;
  }
  for (const std::string& what : view.config->unread) finding.notes.push_back("Not read: " + what + ".");
}

Finding finding_of(const TxView& view, const TxCause& cause) {
  Finding finding{.id = collapsed(view) ? "tx-queue-collapse" : "tx-queue-skew",
                  .severity = severity_of(view, cause),
                  .title = title_of(view, cause),
                  .cause = cause.name,
                  .mechanism = cause.mechanism,
                  .subject = view.config->ref,
                  .culprits = cause.culprits,
                  .evidence = evidence_of(view, cause),
                  .changed_at = cause.changed_at,
                  .confidence = confidence_of(view, cause),
                  .fix = fix_of(view, cause),
                  .by_recorded_queue = cause.recorded,
                  .notes = cause.notes};
  add_blind_spots(view, finding);
  finding.confidence = words::rounded(finding.confidence);
  for (model::Culprit& culprit : finding.culprits) culprit.share = words::rounded(culprit.share);
  return finding;
}

}  // namespace

std::vector<Ranked> find_uneven_tx(const model::HostObservation& host) {
  std::vector<Ranked> found;
  for (const model::DeviceObservation* device : judged_transmitters(host)) {
    const auto view = view_tx(host, *device, *host.config.find(device->device));
    if (!view || view->ratio >= thresholds::kSkewRatio) continue;
    if (const auto cause = decide_tx_cause(*view)) found.push_back({finding_of(*view, *cause), view->rate_pps});
  }
  return found;
}

}  // namespace weir::reason
