// The explanation of a finding: causes, graph, rivals.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/text.h"
#include "reason/explain/finding.h"
#include "reason/explain/mechanisms.h"

namespace weir::explain {

namespace {

/// Blame below which an entity is not worth a line.
constexpr double least_blame = 0.005;
/// Share of the symptom's change that must pass along an edge for it to be shown.
constexpr double least_passed = 0.02;
constexpr std::size_t most_rivals = 5;

/// What a metric was, and should have been, since the onset; with what was taken out of both.
double observed_of(const Case& incident, std::uint32_t metric) {
  const double offset = incident.offsets.empty() ? 0 : incident.offsets[metric];
  return incident.mean(metric).value_or(std::nan("")) + offset;
}
double expected_of(const Case& incident, std::uint32_t metric) {
  const double offset = incident.offsets.empty() ? 0 : incident.offsets[metric];
  return incident.past->baselines[metric].centre + offset;
}

/// The first row at which a metric is out by three scales, no earlier than a few before the onset.
std::optional<std::size_t> first_out(const Case& incident, std::uint32_t metric) {
  constexpr std::size_t before = 5;
  const bool either = bad_direction(incident.past->metrics[metric].quantity) == Bad::either;
  for (std::size_t row = incident.onset > before ? incident.onset - before : 0; row < incident.rows(); ++row) {
    const float z = incident.z(metric, row);
    if (z > 3 || (either && z < -3)) return row;
  }
  return std::nullopt;
}

double lead_of(const Case& incident, std::uint32_t metric) {
  const auto row = first_out(incident, metric);
  return row ? incident.times_s[incident.onset] - incident.times_s[*row] : 0;
}

/// The metric of an entity that stands for it: what the engine looked at, else the one that moved most.
std::uint32_t metric_of(const Case& incident, const Finding& finding, std::uint32_t entity) {
  if (const auto found = finding.metrics.find(entity); found != finding.metrics.end()) return found->second;
  const auto& metrics = incident.past->metrics_of[entity];
  const auto moved = [&](std::uint32_t metric) {
    float most = 0;
    for (std::size_t row = incident.onset; row < incident.rows(); ++row) {
      const float z = incident.z(metric, row);
      if (std::isfinite(z)) most = std::max(most, std::abs(z));
    }
    return most;
  };
  return *std::ranges::max_element(metrics, {}, moved);
}

/// Most suspected first.
std::vector<std::uint32_t> causes_in_order(const Finding& finding, std::uint32_t symptom_entity) {
  std::vector<std::uint32_t> order;
  for (const auto& [entity, blame] : finding.blame) {
    if (entity != symptom_entity && blame > 0) order.push_back(entity);
  }
  const auto& score = finding.suspicion.empty() ? finding.blame : finding.suspicion;
  std::ranges::stable_sort(order, std::greater<>(), [&](std::uint32_t entity) { return score.at(entity); });
  return order;
}

class ExplanationWriter {
 public:
  ExplanationWriter(const Case& incident, const Finding& finding, const Options& options)
      : incident_(incident), finding_(finding), options_(options) {}

  Explanation write() const {
    const PastModel& past = *incident_.past;
    const MetricInfo& symptom = past.metrics[incident_.symptom];
    Explanation result{.engine = options_.engine,
                       .entity = past.graph.entities[symptom.entity],
                       .metric = symptom.name,
                       .observed = observed_of(incident_, incident_.symptom),
                       .expected = expected_of(incident_, incident_.symptom),
                       .since_s = incident_.times_s[incident_.onset],
                       .p_value = finding_.p_value,
                       .notes = past.notes};
    result.notes.insert(result.notes.end(), incident_.notes.begin(), incident_.notes.end());
    if (!finding_.symptom_out) {
      result.notes.push_back(
          fmt::format("{} of {} is as usual in this window: nothing is wrong", symptom.name, printable(result.entity)));
      return result;
    }
    if (finding_.blame.size() < 2 || finding_.p_value > options_.significance) {
      result.notes.emplace_back("no cause stands out from what happens in the healthy past");
      write_rivals(result, {});
      return result;
    }
    const auto order = causes_in_order(finding_, symptom.entity);
    std::vector<std::uint32_t> named;
    double blamed = 0;
    for (const std::uint32_t entity : order) {
      if (named.size() == options_.top) break;
      if (!named.empty() && finding_.blame.at(entity) < least_blame) continue;
      named.push_back(entity);
      result.causes.push_back(cause(entity, result));
      blamed += finding_.blame.at(entity);
    }
    result.unexplained = 1 - blamed;
    write_graph(result);
    write_rivals(result, named);
    return result;
  }

 private:
  Cause cause(std::uint32_t entity, const Explanation& result) const {
    const PastModel& past = *incident_.past;
    const std::uint32_t metric = metric_of(incident_, finding_, entity);
    const double blame = finding_.blame.at(entity);
    return {.entity = past.graph.entities[entity],
            .metric = past.metrics[metric].name,
            .blame = blame,
            .p_value = finding_.p_values.at(entity),
            .observed = observed_of(incident_, metric),
            .expected = expected_of(incident_, metric),
            .lead_s = lead_of(incident_, metric),
            .symptom_without = result.observed - blame * (result.observed - result.expected),
            .mechanism =
                std::string(mechanism_between(past.metrics[metric].quantity, past.metrics[incident_.symptom].quantity)),
            .changes = changes_of(past.graph.entities[entity])};
  }

  /// Changes of an entity from ten rows before the onset to two after it.
  std::vector<std::string> changes_of(const std::string& entity) const {
    const auto& times = incident_.times_s;
    const double step = times.size() > 1 ? (times.back() - times.front()) / static_cast<double>(times.size() - 1) : 60;
    const double onset = times[incident_.onset];
    std::vector<std::string> result;
    for (const Change& change : options_.changes) {
      const bool near = change.time_s >= onset - 10 * step && change.time_s <= onset + 2 * step;
      if (near && change.entity == entity) result.push_back(change.what);
    }
    return result;
  }

  void write_graph(Explanation& result) const {
    const PastModel& past = *incident_.past;
    std::map<std::uint32_t, bool> shown{{incident_.symptom_entity(), true}};
    double whole = 0;
    for (const auto& [edge, part] : finding_.passed) {
      if (edge.first == incident_.symptom_entity()) whole += part.first;
    }
    for (const auto& [edge, part] : finding_.passed) {
      if (part.first < least_passed * whole) continue;
      const auto& [from, to] = edge;
      shown[from] = shown[to] = true;
      const std::uint32_t metric = metric_of(incident_, finding_, to);
      result.edges.push_back(
          {.from = past.graph.entities[from],
           .to = past.graph.entities[to],
           .amount = part.first,
           .unit = finding_.unit,
           .mechanism = std::string(mechanism_between(past.metrics[metric].quantity,
                                                      past.metrics[metric_of(incident_, finding_, from)].quantity)),
           .lead_s = lead_of(incident_, metric),
           .proposed = part.second});
    }
    std::ranges::stable_sort(result.edges, std::greater<>(), &ExplainedEdge::amount);
    for (const auto& [entity, unused] : shown) {
      const std::uint32_t metric =
          entity == incident_.symptom_entity() ? incident_.symptom : metric_of(incident_, finding_, entity);
      const auto blame = finding_.blame.find(entity);
      result.nodes.push_back({.entity = past.graph.entities[entity],
                              .metric = past.metrics[metric].name,
                              .observed = observed_of(incident_, metric),
                              .expected = expected_of(incident_, metric),
                              .blame = blame == finding_.blame.end() ? 0 : blame->second});
    }
  }

  void write_rivals(Explanation& result, const std::vector<std::uint32_t>& named) const {
    const PastModel& past = *incident_.past;
    std::vector<std::pair<double, std::uint32_t>> moved;
    for (std::uint32_t entity = 0; entity < past.graph.entities.size(); ++entity) {
      if (entity == incident_.symptom_entity() || past.metrics_of[entity].empty()) continue;
      if (std::ranges::find(named, entity) != named.end()) continue;
      const std::uint32_t metric = metric_of(incident_, finding_, entity);
      const Baseline& usual = past.baselines[metric];
      const double z = (incident_.mean(metric).value_or(std::nan("")) - usual.centre) / usual.scale;
      if (!usual.weak() && std::abs(z) > 3) moved.emplace_back(std::abs(z), entity);
    }
    std::ranges::sort(moved, std::greater<>());
    if (moved.size() > most_rivals) moved.resize(most_rivals);
    for (const auto& [z, entity] : moved) {
      result.rivals.push_back({past.graph.entities[entity], reason_against(entity, z)});
    }
  }

  std::string reason_against(std::uint32_t entity, double z) const {
    double through = 0;
    for (const auto& [edge, part] : finding_.passed) {
      if (edge.first == entity) through += part.first;
    }
    const auto blame = finding_.blame.find(entity);
    const double kept = blame == finding_.blame.end() ? 0 : blame->second;
    if (through > 0) return fmt::format("out by {:.1f} scales, but hands what it gets on to others", z);
    if (kept > 0) return fmt::format("out by {:.1f} scales, which accounts for {:.1f} % only", z, 100 * kept);
    const std::uint32_t metric = metric_of(incident_, finding_, entity);
    if (lead_of(incident_, metric) < 0) return fmt::format("out by {:.1f} scales, but later than the symptom", z);
    return fmt::format("out by {:.1f} scales, but not when and where the symptom is", z);
  }

  const Case& incident_;
  const Finding& finding_;
  const Options& options_;
};

}  // namespace

Explanation write_explanation(const Case& incident, const Finding& finding, const Options& options) {
  return ExplanationWriter(incident, finding, options).write();
}

}  // namespace weir::explain
