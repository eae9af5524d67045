// Murphy's counterfactual: the paths, the plan of resampling, and ranking.
#include "reason/explain/murphy.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "reason/explain/murphy_plan.h"

namespace weir::explain {

namespace {

constexpr std::uint32_t none = ~0U;
/// Scales by which a metric must be out for its entity to be followed: conservative.
constexpr double out_of_usual = 1.5;
/// Scales by which a candidate's metrics are moved.
constexpr double moved_by = 2;
constexpr double significance = 0.01;

ConditionalSettings conditional_settings(const Case& incident, const MurphySettings& settings) {
  return {.features = settings.features, .of_own_entity = false, .undirected = incident.undirected};
}

/// Calls `visit` for each entity that the given one depends on, or with undirected edges has to do with.
template <typename Visit>
void for_each_cause(const Case& incident, std::uint32_t entity, const Visit& visit) {
  for (const std::uint32_t callee : incident.past->callees[entity]) visit(callee);
  if (!incident.undirected) return;
  for (const std::uint32_t caller : incident.past->callers[entity]) visit(caller);
}

template <typename Visit>
void for_each_effect(const Case& incident, std::uint32_t entity, const Visit& visit) {
  for (const std::uint32_t caller : incident.past->callers[entity]) visit(caller);
  if (!incident.undirected) return;
  for (const std::uint32_t callee : incident.past->callees[entity]) visit(callee);
}

/// Edges from the symptom's entity, following only entities that `follow` holds for.
template <typename Follow>
std::vector<std::uint32_t> distances(const Case& incident, const Follow& follow) {
  std::vector<std::uint32_t> distance(incident.past->graph.entities.size(), none);
  std::vector<std::uint32_t> queue{incident.symptom_entity()};
  distance[queue.front()] = 0;
  for (std::size_t i = 0; i < queue.size(); ++i) {
    for_each_cause(incident, queue[i], [&](std::uint32_t cause) {
      if (distance[cause] != none || !follow(cause)) return;
      distance[cause] = distance[queue[i]] + 1;
      queue.push_back(cause);
    });
  }
  return distance;
}

std::vector<float> means_since_onset(const Case& incident) {
  std::vector<float> means(incident.past->metrics.size());
  for (std::uint32_t metric = 0; metric < means.size(); ++metric) {
    means[metric] = static_cast<float>(incident.mean(metric).value_or(incident.past->baselines[metric].centre));
  }
  return means;
}

}  // namespace

double p_value_of(const CounterfactualEffect& effect, Bad way, std::size_t samples) {
  const double n = static_cast<double>(samples);
  const double a = effect.factual_sd * effect.factual_sd / n;
  const double b = effect.counterfactual_sd * effect.counterfactual_sd / n;
  const double better = way == Bad::down ? -effect.change() : effect.change();
  if (a + b <= 0) return better > 0 ? 0 : 1;
  const double t = better / std::sqrt(a + b);
  const double freedom = (a + b) * (a + b) * (n - 1) / (a * a + b * b);
  // Student's t as a normal deviate (Wallace 1959), right to three digits from eight degrees of freedom on.
  const double deviate =
      std::copysign((8 * freedom + 1) / (8 * freedom + 3) * std::sqrt(freedom * std::log1p(t * t / freedom)), t);
  return 0.5 * std::erfc(deviate / std::numbers::sqrt2);
}

Counterfactuals::Counterfactuals(const Case& incident, const MurphySettings& settings,
                                 std::span<const Conditional> learnt)
    : incident_(&incident),
      settings_(settings),
      given_(learnt),
      columns_(*incident.past, &incident),
      learner_(columns_, conditional_settings(incident, settings)),
      learnt_at_(incident.past->metrics.size(), 0),
      observed_(means_since_onset(incident)),
      distance_(distances(incident, [](std::uint32_t) { return true; })),
      local_(incident.past->metrics.size(), none) {}

const Conditional& Counterfactuals::conditional(std::uint32_t metric) {
  if (!given_.empty()) return given_[metric];
  if (learnt_at_[metric] == 0) {
    learnt_.push_back(learner_.learn(metric));
    learnt_at_[metric] = static_cast<std::uint32_t>(learnt_.size());
  }
  return learnt_[learnt_at_[metric] - 1];
}

double Counterfactuals::anomaly(std::uint32_t entity) const {
  double largest = 0;
  for (const std::uint32_t metric : incident_->past->metrics_of[entity]) {
    const Baseline& usual = incident_->past->baselines[metric];
    if (usual.values == 0) continue;
    largest = std::max(largest, std::abs(static_cast<double>(observed_[metric]) - usual.centre) / usual.scale);
  }
  return largest;
}

std::vector<std::uint32_t> Counterfactuals::candidates() const {
  const auto reached = distances(*incident_, [this](std::uint32_t entity) { return anomaly(entity) >= out_of_usual; });
  std::vector<std::uint32_t> result;
  for (std::uint32_t entity = 0; entity < reached.size(); ++entity) {
    if (reached[entity] != none && reached[entity] > 0) result.push_back(entity);
  }
  return result;
}

/// Entities on shortest paths from the candidate to the symptom, by distance; the candidate is not among them.
std::vector<std::uint32_t> Counterfactuals::between(std::uint32_t candidate) const {
  std::vector<std::uint32_t> order;
  if (distance_[candidate] == none || distance_[candidate] == 0) return order;
  std::vector<std::uint32_t> level{candidate};
  std::vector<std::uint32_t> next;
  while (distance_[level.front()] > 0) {
    next.clear();
    for (const std::uint32_t entity : level) {
      for_each_effect(*incident_, entity, [&](std::uint32_t effect) {
        if (distance_[effect] + 1 == distance_[entity]) next.push_back(effect);
      });
    }
    std::ranges::sort(next);
    next.erase(std::ranges::unique(next).begin(), next.end());
    order.insert(order.end(), next.begin(), next.end());
    std::swap(level, next);
  }
  return order;
}

ResamplingPlan Counterfactuals::plan_of(std::uint32_t candidate, double scales) {
  ResamplingPlan plan;
  const PastModel& past = *incident_->past;
  std::vector<std::uint32_t> metrics;
  for (const std::uint32_t entity : between(candidate)) {
    for (const std::uint32_t metric : past.metrics_of[entity]) {
      if (metric != incident_->symptom) metrics.push_back(metric);
    }
  }
  if (distance_[candidate] != none && distance_[candidate] > 0) metrics.push_back(incident_->symptom);
  for (const std::uint32_t metric : metrics) {
    local_[metric] = static_cast<std::uint32_t>(plan.start.size());
    plan.start.push_back(observed_[metric]);
  }
  for (const std::uint32_t metric : past.metrics_of[candidate]) {
    local_[metric] = static_cast<std::uint32_t>(plan.start.size());
    plan.start.push_back(observed_[metric]);
    const Baseline& usual = past.baselines[metric];
    const double away = static_cast<double>(observed_[metric]) - usual.centre;
    const double step = usual.values == 0 ? 0 : std::min(std::abs(away), scales * usual.scale);
    plan.changed.push_back(static_cast<float>(observed_[metric] - std::copysign(step, away)));
  }
  for (const std::uint32_t metric : metrics) add_step(plan, metric);
  for (const std::uint32_t metric : metrics) local_[metric] = none;
  for (const std::uint32_t metric : past.metrics_of[candidate]) local_[metric] = none;
  plan.rounds = settings_.rounds;
  return plan;
}

void Counterfactuals::add_step(ResamplingPlan& plan, std::uint32_t metric) {
  const Conditional& law = conditional(metric);
  ResamplingPlan::Step& step = plan.steps.emplace_back();
  double constant = law.intercept;
  for (std::uint32_t i = 0; i < law.size; ++i) {
    if (local_[law.feature[i]] == none) {
      constant += static_cast<double>(law.coefficient[i]) * observed_[law.feature[i]];
      continue;
    }
    step.feature[step.size] = local_[law.feature[i]];
    step.coefficient[step.size++] = law.coefficient[i];
  }
  step.constant = static_cast<float>(constant);
  step.sd = law.residual_sd;
}

CounterfactualEffect Counterfactuals::symptom_as_it_is() const {
  const double value = observed_[incident_->symptom];
  return {.factual = value, .counterfactual = value};
}

CounterfactualEffect Counterfactuals::analytic(std::uint32_t candidate, double scales) {
  const ResamplingPlan plan = plan_of(candidate, scales);
  if (plan.steps.empty()) return symptom_as_it_is();
  return follow_back(plan);
}

CounterfactualEffect Counterfactuals::sampled(std::uint32_t candidate, double scales) {
  const ResamplingPlan plan = plan_of(candidate, scales);
  if (plan.steps.empty()) return symptom_as_it_is();
  // Each candidate has draws of its own, whatever is asked before it.
  Random random(settings_.seed * 0x9e3779b97f4a7c15U + candidate);
  return resample(plan, settings_.samples, random);
}

double Counterfactuals::symptom_without(std::uint32_t candidate) {
  return observed_[incident_->symptom] - analytic(candidate, to_normal).change();
}

namespace {

Suspects rank(const Case& incident, const MurphySettings& settings, bool sampled) {
  Counterfactuals counterfactuals(incident, settings);
  Suspects result;
  for (const std::uint32_t candidate : counterfactuals.candidates()) {
    const auto effect =
        sampled ? counterfactuals.sampled(candidate, moved_by) : counterfactuals.analytic(candidate, moved_by);
    if (p_value_of(effect, incident.way, settings.samples) < significance) {
      result.push_back({candidate, counterfactuals.anomaly(candidate)});
    }
  }
  std::ranges::stable_sort(result, std::greater{}, &Suspect::score);
  return result;
}

}  // namespace

Suspects rank_by_murphy(const Case& incident, const MurphySettings& settings) {
  return rank(incident, settings, false);
}

Suspects rank_by_murphy_sampled(const Case& incident, const MurphySettings& settings) {
  return rank(incident, settings, true);
}

}  // namespace weir::explain
