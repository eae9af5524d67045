// From a case to an explanation: the engine that was asked for, and its finding written out.
#include <fmt/format.h>

#include "reason/explain/engine_cache.h"
#include "reason/explain/engines.h"
#include "reason/explain/finding.h"

namespace weir::explain {

namespace {

std::string span_text(double seconds) {
  return seconds < 7200 ? fmt::format("{:.0f} s", seconds) : fmt::format("{:.1f} h", seconds / 3600);
}

/// Takes the season out of a case whose past has one. The cache is locked by the caller.
void take_season_out(EngineCache& cache, Case& incident, const std::optional<double>& since_s) {
  if (!cache.season_known) {
    cache.season = find_season(*incident.past);
    if (cache.season) cache.without_season = std::make_unique<PastModel>(without_season(*incident.past, *cache.season));
    cache.season_known = true;
  }
  if (!cache.season) return;
  incident.notes.push_back(
      fmt::format("metrics follow a period of {}, which was taken out", span_text(cache.season->period_s)));
  remove_season(incident, *cache.without_season, *cache.season, since_s);
}

Result<Finding> find(Case& incident, const Symptom& symptom, const Options& options) {
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
  EngineCache& cache = *incident.past->engines;
  const std::lock_guard lock(cache.mutex);
  take_season_out(cache, incident, symptom.since_s);
  auto& engine = cache.statistics[{incident.symptom, options.undirected}];
  if (!engine) engine = std::make_unique<StatisticsEngine>(*incident.past, incident.symptom, options.undirected);
  return find_by_statistics(incident, *engine);
}

}  // namespace

Result<Explanation> explain(const Past& past, const Table& window, const Symptom& symptom, const Options& options) {
  auto incident = make_case(past.model(), window, symptom, options.undirected);
  if (!incident) return std::unexpected(incident.error());
  const auto finding = find(*incident, symptom, options);
  if (!finding) return std::unexpected(finding.error());
  return write_explanation(*incident, *finding, options);
}

}  // namespace weir::explain
