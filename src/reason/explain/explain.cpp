// From a case to an explanation: the engine that was asked for, and its finding written out.
#include "reason/explain/engines.h"
#include "reason/explain/finding.h"

namespace weir::explain {

namespace {

Result<Finding> find(const Case& incident, const Options& options) {
  const MurphySettings murphy{.seed = options.seed};
  switch (options.engine) {
    case Engine::murphy:
      return find_by_ranking(incident, rank_by_murphy(incident, murphy));
    case Engine::murphy_sampled:
      return find_by_ranking(incident, rank_by_murphy_sampled(incident, murphy));
    case Engine::max_z:
      return find_by_ranking(incident, rank_by_max_z(incident));
    case Engine::ranked_correlation:
      return find_by_ranking(incident, rank_by_correlation(incident));
    case Engine::traversal:
      return find_by_ranking(incident, rank_by_traversal(incident));
    case Engine::random_walk:
      return find_by_ranking(incident, rank_by_random_walk(incident));
    case Engine::mass:
    case Engine::combined:
      break;
  }
  if (const auto engine = MassEngine::of(*incident.past, incident.symptom, options.undirected)) {
    return find_by_mass(incident, *engine);
  }
  if (options.engine == Engine::mass) {
    return fail(Errc::usage,
                "engine mass: " + incident.past->metrics[incident.symptom].name + " does not add up along edges",
                "latency, availability, failures and drops do; --engine combined takes what fits");
  }
  StatisticsEngine engine(*incident.past, incident.symptom, options.undirected);
  return find_by_statistics(incident, engine);
}

}  // namespace

Result<Explanation> explain(const Past& past, const Table& window, const Symptom& symptom, const Options& options) {
  auto incident = make_case(past.model(), window, symptom, options.undirected);
  if (!incident) return std::unexpected(incident.error());
  const auto finding = find(*incident, options);
  if (!finding) return std::unexpected(finding.error());
  return write_explanation(*incident, *finding, options);
}

}  // namespace weir::explain
