// The engines behind explain(): each orders the entities of a case by how much it suspects them. The symptom's own
// entity is never among them. Engines do not judge whether anything is wrong at all.
#pragma once

#include <cstdint>

#include "reason/explain/model.h"

namespace weir::explain {

/// Plain methods, to be compared with. All but max_z and correlation use the graph.
/// By the largest deviation of any metric in the rows of the symptom.
Suspects rank_by_max_z(const Case& incident);
/// By the largest |correlation| of any metric with the symptom, over past and window together.
Suspects rank_by_correlation(const Case& incident);
/// Anomalous entities (some metric beyond 3 scales) that are reached from the symptom through anomalous ones and ask
/// nothing of an anomalous one; nearest and most anomalous first.
Suspects rank_by_traversal(const Case& incident);
/// By visits of a random walk from the symptom that prefers neighbours whose metrics go with it (MonitorRank-like).
Suspects rank_by_random_walk(const Case& incident);

/// Murphy's conditionals and counterfactuals, see murphy.h.
struct MurphySettings {
  std::size_t features = 10;   ///< B: in-neighbours' metrics a conditional keeps
  std::size_t rounds = 4;      ///< W: of resampling
  std::size_t samples = 5000;  ///< N: of each arm; the analytic twin needs none
  std::uint64_t seed = 1;
};
Suspects rank_by_murphy(const Case& incident, const MurphySettings& settings = {});
Suspects rank_by_murphy_sampled(const Case& incident, const MurphySettings& settings = {});

}  // namespace weir::explain
