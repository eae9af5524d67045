// A finding by excess mass.
#include <algorithm>

#include "reason/explain/finding.h"

namespace weir::explain {

namespace {

/// Of the rows since the onset, so many must be out of the usual for there to be a symptom at all.
constexpr double least_share_out = 0.1;
/// In parts of what is unusual.
constexpr double out = 0.5;

bool is_symptom_out(const Case& incident, const MassModel& model) {
  std::vector<double> masses;
  std::size_t rows_out = 0;
  for (std::size_t row = incident.onset; row < incident.rows(); ++row) {
    model.masses(window_rows(incident), row, masses);
    rows_out += masses[incident.symptom_entity()] >= out * model.unusual(incident.symptom_entity()) ? 1 : 0;
  }
  const auto rows = static_cast<double>(incident.rows() - incident.onset);
  return static_cast<double>(rows_out) >= std::max(1.0, least_share_out * rows);
}

}  // namespace

Finding find_by_mass(const Case& incident, const MassEngine& engine) {
  const std::uint32_t symptom_entity = incident.symptom_entity();
  const MassVerdict verdict = engine.judge(window_rows(incident), incident.onset, incident.rows());
  Finding finding{.passed = verdict.passed, .unit = std::string(engine.model().unit())};
  finding.symptom_out = is_symptom_out(incident, engine.model());
  if (verdict.excess <= 0) {
    finding.blame[symptom_entity] = 1;
    return finding;
  }
  const NullTail tail = engine.null_tail(incident.rows());
  for (const auto& [entity, found] : verdict.entities) {
    finding.blame[entity] = found.blame;
    if (const auto& source = engine.model().source(entity)) finding.metrics[entity] = source->value;
    if (entity == symptom_entity) continue;
    const double p = tail.p_value(found.score(verdict.rows));
    finding.p_values[entity] = p;
    finding.p_value = std::min(finding.p_value, p);
  }
  return finding;
}

}  // namespace weir::explain
