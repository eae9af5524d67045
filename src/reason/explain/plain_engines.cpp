// The plain methods: largest deviation, correlation, traversal of what is anomalous, and a random walk.
#include <algorithm>
#include <cmath>
#include <functional>

#include "reason/explain/engines.h"

namespace weir::explain {

namespace {

constexpr std::uint32_t unreached = ~0U;

/// The largest deviation of any of the entity's metrics in the rows of the symptom, either way.
double largest_z(const Case& incident, std::uint32_t entity) {
  double largest = 0;
  for (const std::uint32_t metric : incident.past->metrics_of[entity]) {
    for (std::size_t row = incident.onset; row < incident.rows(); ++row) {
      const double z = std::abs(incident.z(metric, row));
      if (std::isfinite(z)) largest = std::max(largest, z);
    }
  }
  return largest;
}

/// The symptom's series over past and window, about its mean; missing values are 0.
class SymptomSeries {
 public:
  explicit SymptomSeries(const Case& incident) : incident_(&incident), values_(joined(incident.symptom)) {}

  /// |Pearson's correlation| with a metric, over the rows that both have. 0 when either does not change.
  [[nodiscard]] double correlation(std::uint32_t metric) const {
    const std::vector<float> other = joined(metric);
    double count = 0;
    double sum_x = 0;
    double sum_y = 0;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      if (!std::isfinite(values_[i]) || !std::isfinite(other[i])) continue;
      count += 1;
      sum_x += values_[i];
      sum_y += other[i];
    }
    if (count < 3) return 0;
    double xx = 0;
    double yy = 0;
    double xy = 0;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      if (!std::isfinite(values_[i]) || !std::isfinite(other[i])) continue;
      const double x = values_[i] - sum_x / count;
      const double y = other[i] - sum_y / count;
      xx += x * x;
      yy += y * y;
      xy += x * y;
    }
    return xx > 0 && yy > 0 ? std::abs(xy) / std::sqrt(xx * yy) : 0;
  }

  /// The largest of the entity's metrics.
  [[nodiscard]] double entity_correlation(std::uint32_t entity) const {
    double largest = 0;
    for (const std::uint32_t metric : incident_->past->metrics_of[entity]) {
      largest = std::max(largest, correlation(metric));
    }
    return largest;
  }

 private:
  [[nodiscard]] std::vector<float> joined(std::uint32_t metric) const {
    const auto healthy = incident_->past->series(metric);
    const auto window = incident_->series(metric);
    std::vector<float> values(healthy.begin(), healthy.end());
    values.insert(values.end(), window.begin(), window.end());
    return values;
  }

  const Case* incident_;
  std::vector<float> values_;
};

template <typename Score>
Suspects order_by(const Case& incident, const Score& score) {
  Suspects result;
  for (std::uint32_t entity = 0; entity < incident.past->graph.entities.size(); ++entity) {
    if (entity != incident.symptom_entity()) result.push_back({entity, score(entity)});
  }
  std::erase_if(result, [](const Suspect& suspect) { return !(suspect.score > 0); });
  std::ranges::stable_sort(result, std::greater{}, &Suspect::score);
  return result;
}

/// What an entity depends on, or with undirected edges has to do with.
std::vector<std::uint32_t> dependencies(const Case& incident, std::uint32_t entity) {
  std::vector<std::uint32_t> result = incident.past->callees[entity];
  if (incident.undirected) {
    const auto& callers = incident.past->callers[entity];
    result.insert(result.end(), callers.begin(), callers.end());
    std::ranges::sort(result);
    result.erase(std::ranges::unique(result).begin(), result.end());
  }
  return result;
}

}  // namespace

Suspects rank_by_max_z(const Case& incident) {
  return order_by(incident, [&](std::uint32_t entity) { return largest_z(incident, entity); });
}

Suspects rank_by_correlation(const Case& incident) {
  const SymptomSeries symptom(incident);
  return order_by(incident, [&](std::uint32_t entity) { return symptom.entity_correlation(entity); });
}

Suspects rank_by_traversal(const Case& incident) {
  constexpr double anomalous = 3;
  const std::size_t entities = incident.past->graph.entities.size();
  std::vector<std::uint32_t> distance(entities, unreached);
  std::vector<double> z(entities, -1);  // looked at only where the traversal comes
  const auto z_of = [&](std::uint32_t entity) {
    if (z[entity] < 0) z[entity] = largest_z(incident, entity);
    return z[entity];
  };
  std::vector<std::uint32_t> queue{incident.symptom_entity()};
  distance[queue.front()] = 0;
  std::vector<std::uint32_t> ends;
  for (std::size_t i = 0; i < queue.size(); ++i) {
    bool end = true;
    for (const std::uint32_t next : dependencies(incident, queue[i])) {
      // With undirected edges, what is nearer to the symptom is no dependency.
      const bool back = incident.undirected && distance[next] <= distance[queue[i]];
      if (back || z_of(next) <= anomalous) continue;
      end = false;
      if (distance[next] != unreached) continue;
      distance[next] = distance[queue[i]] + 1;
      queue.push_back(next);
    }
    if (end && i > 0) ends.push_back(queue[i]);
  }
  Suspects result;
  for (const std::uint32_t entity : ends) {
    // Nearest first; of those as near, the most anomalous.
    result.push_back({entity, 1 / (distance[entity] + 1 / (1 + z_of(entity)))});
  }
  std::ranges::stable_sort(result, std::greater{}, &Suspect::score);
  return result;
}

Suspects rank_by_random_walk(const Case& incident) {
  // After MonitorRank (2013): forward to what goes with the symptom, a little back, and staying where it fits best.
  constexpr double backward = 0.1;
  constexpr double restart = 0.1;
  constexpr int steps = 60;
  const SymptomSeries symptom(incident);
  const std::size_t entities = incident.past->graph.entities.size();
  std::vector<double> fit(entities);
  for (std::uint32_t entity = 0; entity < entities; ++entity) {
    fit[entity] = symptom.entity_correlation(entity) + 1e-6;
  }
  std::vector<double> at(entities, 0.0);
  at[incident.symptom_entity()] = 1;
  std::vector<double> visits(entities, 0.0);
  std::vector<std::pair<std::uint32_t, double>> ways;
  for (int step = 0; step < steps; ++step) {
    std::vector<double> next(entities, 0.0);
    next[incident.symptom_entity()] = restart;
    for (std::uint32_t entity = 0; entity < entities; ++entity) {
      if (at[entity] <= 0) continue;
      ways.clear();
      double total = 0;
      double best = 0;
      const auto add = [&](std::uint32_t to, double weight) {
        ways.emplace_back(to, weight);
        total += weight;
      };
      for (const std::uint32_t to : dependencies(incident, entity)) {
        best = std::max(best, fit[to]);
        add(to, fit[to]);
      }
      for (const std::uint32_t to : incident.past->callers[entity]) add(to, backward * fit[to]);
      if (entity != incident.symptom_entity() && fit[entity] > best) add(entity, fit[entity] - best);
      if (total <= 0) add(incident.symptom_entity(), 1);
      for (const auto& [to, weight] : ways) next[to] += (1 - restart) * at[entity] * weight / total;
    }
    at.swap(next);
    for (std::uint32_t entity = 0; entity < entities; ++entity) visits[entity] += at[entity];
  }
  return order_by(incident, [&](std::uint32_t entity) { return visits[entity]; });
}

}  // namespace weir::explain
