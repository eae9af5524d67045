// The doctor: what is wrong on this host, why, and what mends it. Pure: a model in, findings out.
#pragma once

#include <string>
#include <vector>

#include "model/finding.h"
#include "model/queues.h"

namespace weir::reason {

/// The findings of one observation, most severe first, then most packets affected first. Empty: a healthy host, as far
/// as the observation reaches. Deterministic: the same observation gives the same findings.
std::vector<model::Finding> diagnose(const model::HostObservation& observation);

/// Something that diagnose() or find_accounting_gaps() can find, and the causes it tells apart; each has a section in
/// docs/findings/ID.md.
struct Symptom {
  std::string id;
  std::vector<std::string> causes;
};
const std::vector<Symptom>& symptoms();

}  // namespace weir::reason
