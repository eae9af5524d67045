// A finding by regression, for symptoms that do not add up along edges.
#include <algorithm>
#include <cmath>

#include "reason/explain/finding.h"
#include "reason/explain/murphy.h"

namespace weir::explain {

namespace {

/// How much each entity is suspected: the blame that stays there, times the part of the symptom that goes away with it
/// counterfactually, times how far out it is. Blame walks step by step and so loses little by little what a regression
/// does not tell; the counterfactual does not see what is out of all experience. Who is a cause is one by both.
std::map<std::uint32_t, double> suspicion_of(const Case& incident, const StatisticsVerdict& verdict, double change) {
  // What either says nothing of is not ruled out by the other.
  constexpr double least = 0.02;
  Counterfactuals counterfactuals(incident, {});
  std::map<std::uint32_t, double> suspicion;
  for (const auto& [entity, found] : verdict.entities) {
    if (entity == incident.symptom_entity()) continue;
    const double taken_away =
        change == 0 ? 0 : counterfactuals.analytic(entity, Counterfactuals::to_normal).change() / change;
    suspicion[entity] =
        (found.blame + least) * std::clamp(taken_away, least, 1.0) * std::log1p(counterfactuals.anomaly(entity));
  }
  return suspicion;
}

}  // namespace

Finding find_by_statistics(const Case& incident, StatisticsEngine& engine) {
  const std::uint32_t symptom_entity = incident.symptom_entity();
  const StatisticsVerdict verdict = engine.judge(window_rows(incident), incident.onset, incident.rows());
  const PastModel& past = *incident.past;
  const double usual = past.baselines[incident.symptom].centre;
  const double change = incident.mean(incident.symptom).value_or(usual) - usual;
  Finding finding{.suspicion = suspicion_of(incident, verdict, change),
                  .unit = past.metrics[incident.symptom].name,
                  .symptom_out = verdict.symptom_out >= 1};
  for (const auto& [edge, part] : verdict.passed) {
    finding.passed[edge] = {part.first * std::abs(change), part.second};
  }
  const NullTail& tail = engine.null_tail(incident.rows() - incident.onset);
  for (const auto& [entity, found] : verdict.entities) {
    finding.blame[entity] = found.blame;
    finding.metrics[entity] = found.metric;
    if (entity == symptom_entity) continue;
    const double p = tail.p_value(found.score);
    finding.p_values[entity] = p;
    finding.p_value = std::min(finding.p_value, p);
  }
  return finding;
}

}  // namespace weir::explain
