#include "reason/doctor/doctor.h"

#include <algorithm>
#include <iterator>
#include <tuple>

#include "reason/doctor/tx_queues.h"

namespace weir::reason {

std::vector<model::Finding> diagnose(const model::HostObservation& observation) {
  std::vector<Ranked> ranked = find_uneven_tx(observation);
  std::ranges::move(find_one_active_queue(observation), std::back_inserter(ranked));
  std::ranges::stable_sort(ranked, [](const Ranked& a, const Ranked& b) {
    return std::tuple(a.finding.severity, a.packets_per_second) > std::tuple(b.finding.severity, b.packets_per_second);
  });
  std::vector<model::Finding> findings;
  for (Ranked& row : ranked) findings.push_back(std::move(row.finding));
  return findings;
}

const std::vector<Symptom>& symptoms() {
  static const std::vector<std::string> causes = {
      "recorded-rx-queue", "xps",      "few-flows",     "single-flow", "driver-select-queue",
      "one-active-queue",  "prio-map", "forwarding-cpu"};
  static const std::vector<Symptom> all = {
      {"tx-queue-collapse", causes}, {"tx-queue-skew", causes}, {"accounting-gap", {"table-full", "not-seen"}}};
  return all;
}

}  // namespace weir::reason
