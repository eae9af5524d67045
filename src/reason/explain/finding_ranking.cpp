// A finding of an engine that only orders entities.
#include <cmath>
#include <limits>

#include "reason/explain/finding.h"

namespace weir::explain {

Finding find_by_ranking(const Case& incident, const Suspects& suspects) {
  Finding finding{.p_value = std::numeric_limits<double>::quiet_NaN(), .symptom_out = true};
  double sum = 0;
  for (const Suspect& suspect : suspects) sum += std::max(0.0, suspect.score);
  finding.blame[incident.symptom_entity()] = sum > 0 ? 0 : 1;
  for (const Suspect& suspect : suspects) {
    if (suspect.score <= 0) continue;
    finding.blame[suspect.entity] = suspect.score / sum;
    finding.p_values[suspect.entity] = finding.p_value;
  }
  return finding;
}

}  // namespace weir::explain
