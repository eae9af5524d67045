#include "reason/explain/statistics_engine.h"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <set>

namespace weir::explain {

namespace {

/// Scales beyond which the mean of a window has moved.
constexpr double moved_scales = 3;
/// Neighbours' metrics that one regression takes at most.
constexpr double weight_of_steps = 4;
constexpr std::size_t most_features = 10;
constexpr float ridge = 0.02F;
/// Metrics that are visited at most.
constexpr std::size_t most_metrics = 400;
/// Least correlation, when all is well, of a metric that is proposed without an edge.
constexpr double least_proposed = 0.3;
constexpr std::size_t most_proposed = 48;
/// Of what a regression leaves over, so much at most goes to neighbours that are farther out than it ever saw.
constexpr double most_beyond = 0.9;

}  // namespace

double StatisticsVerdict::best(std::uint32_t symptom_entity) const {
  double result = 0;
  for (const auto& [entity, found] : entities) {
    if (entity != symptom_entity) result = std::max(result, found.score);
  }
  return result;
}

StatisticsEngine::StatisticsEngine(const PastModel& past, std::uint32_t symptom, bool undirected)
    : past_(&past), symptom_(symptom), undirected_(undirected), columns_(past) {}

double StatisticsEngine::mean_scale(std::uint32_t metric, std::size_t length) {
  const auto [found, added] = mean_scales_[length].emplace(metric, 0);
  if (!added) return found->second;
  const Baseline& usual = past_->baselines[metric];
  std::vector<float> means;
  const auto series = past_->series(metric);
  // Half overlapping: twice as many for the same rows.
  for (std::size_t first = 0; first + length <= series.size(); first += std::max<std::size_t>(1, length / 2)) {
    if (const auto mean = mean_of(series.subspan(first, length))) means.push_back(static_cast<float>(*mean));
  }
  const double least = usual.scale / std::sqrt(static_cast<double>(length));
  constexpr std::size_t enough = 8;
  const double seen = means.size() < enough ? usual.scale : baseline_of(means, Quantity::other).scale;
  return found->second = std::max(least, seen);
}

const StatisticsEngine::Moved& StatisticsEngine::moved(const RowsView& rows, std::size_t first, std::size_t last,
                                                       std::uint32_t metric) {
  const auto [found, added] = moved_.emplace(metric, Moved{});
  if (!added) return found->second;
  const Baseline& usual = past_->baselines[metric];
  if (usual.weak()) return found->second;
  const auto mean = mean_of(rows.series(metric).subspan(first, last - first));
  if (!mean) return found->second;
  const double change = *mean - usual.centre;
  columns_.column(metric);
  const double sd = columns_.moments(metric).sd;
  found->second = {change / mean_scale(metric, last - first), sd > 0 ? change / sd : change / usual.scale};
  return found->second;
}

/// One walk through what moved in a window, from the symptom on.
class StatisticsEngine::Walk {
 public:
  Walk(StatisticsEngine& engine, const RowsView& rows, std::size_t first, std::size_t last)
      : engine_(engine), past_(*engine.past_), rows_(rows), first_(first), last_(last) {
    engine_.moved_.clear();
  }

  StatisticsVerdict verdict() {
    StatisticsVerdict result;
    const double symptom_by = std::abs(moved(engine_.symptom_).by);
    result.symptom_out = symptom_by / moved_scales;
    visit_all();
    const Blame blame = follow_blame(shares_, 0);
    std::map<std::uint32_t, double> most_kept;
    for (std::uint32_t node = 0; node < metrics_.size(); ++node) {
      const std::uint32_t entity = past_.metrics[metrics_[node]].entity;
      auto& found = result.entities[entity];
      found.blame += blame.kept[node];
      double& kept = most_kept[entity];
      if (blame.kept[node] >= kept) {
        kept = blame.kept[node];
        found.metric = metrics_[node];
      }
      const double out = std::abs(moved(metrics_[node]).by) / moved_scales;
      found.score += blame.kept[node] * std::min(1.0, result.symptom_out) * std::log(std::max(1.0, out));
    }
    for (const auto& [edge, part] : blame.passed) {
      const std::pair entities{past_.metrics[metrics_[edge.first]].entity, past_.metrics[metrics_[edge.second]].entity};
      if (entities.first == entities.second) continue;
      auto& passed = result.passed[entities];
      passed.first += part.first;
      passed.second = part.second;
    }
    return result;
  }

 private:
  const Moved& moved(std::uint32_t metric) { return engine_.moved(rows_, first_, last_, metric); }
  bool has_moved(std::uint32_t metric) { return may_have_moved(metric) && std::abs(moved(metric).by) > moved_scales; }
  /// Without what it takes to be sure, which for most of many metrics is not worth working out: no scale of window
  /// means is smaller than that of independent rows.
  [[nodiscard]] bool may_have_moved(std::uint32_t metric) const {
    const Baseline& usual = past_.baselines[metric];
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t row = first_; row < last_; ++row) {
      const float value = rows_.at(metric, row);
      if (!std::isfinite(value)) continue;
      sum += value;
      ++count;
    }
    if (count == 0) return false;
    const double least = usual.scale / std::sqrt(static_cast<double>(last_ - first_));
    return std::abs(sum / static_cast<double>(count) - usual.centre) > 0.999 * moved_scales * least;
  }
  /// Product moment of two standardised series: of their values and, with more weight, of their steps from row to row,
  /// in which what drives everything slowly (the time of day, the load) does not show.
  double moment(std::uint32_t a, std::uint32_t b) {
    const auto [found, added] = moments_.emplace(std::minmax(a, b), 0);
    if (!added) return found->second;
    const float* const left = engine_.columns_.column(a);
    const float* const right = engine_.columns_.column(b);
    double levels = left[0] * right[0];
    double steps = 0;
    for (std::size_t row = 1; row < engine_.columns_.rows(); ++row) {
      levels += left[row] * right[row];
      steps += (left[row] - left[row - 1]) * (right[row] - right[row - 1]);
    }
    return found->second = (levels + weight_of_steps * steps) / static_cast<double>(engine_.columns_.rows());
  }
  double correlation(std::uint32_t a, std::uint32_t b) {
    const double scale = std::sqrt(moment(a, a) * moment(b, b));
    return scale > 0 ? moment(a, b) / scale : 0;
  }
  std::uint32_t node_of(std::uint32_t metric) {
    const auto [found, added] = nodes_.emplace(metric, static_cast<std::uint32_t>(metrics_.size()));
    if (added) {
      metrics_.push_back(metric);
      shares_.emplace_back();
    }
    return found->second;
  }

  void visit_all() {
    node_of(engine_.symptom_);
    gather_all_moved();
    for (std::size_t next = 0; next < metrics_.size() && next < most_metrics; ++next) visit(metrics_[next]);
  }

  /// The metrics that moved most, wherever they are: of these missing edges are proposed.
  void gather_all_moved() {
    for (std::uint32_t metric = 0; metric < past_.metrics.size(); ++metric) {
      if (has_moved(metric)) all_moved_.push_back(metric);
    }
    std::ranges::sort(all_moved_, std::greater<>(), [&](std::uint32_t metric) { return std::abs(moved(metric).by); });
    if (all_moved_.size() > most_proposed) all_moved_.resize(most_proposed);
  }

  std::vector<std::uint32_t> moved_neighbours(std::uint32_t metric) {
    const std::uint32_t entity = past_.metrics[metric].entity;
    std::vector<std::pair<double, std::uint32_t>> found;
    const auto add = [&](std::uint32_t from) {
      for (const std::uint32_t other : past_.metrics_of[from]) {
        if (other != metric && has_moved(other)) found.emplace_back(std::abs(correlation(metric, other)), other);
      }
    };
    add(entity);
    for (const std::uint32_t callee : past_.callees[entity]) add(callee);
    if (engine_.undirected_) {
      for (const std::uint32_t caller : past_.callers[entity]) add(caller);
    }
    std::ranges::sort(found, std::greater<>());
    if (found.size() > most_features) found.resize(most_features);
    std::vector<std::uint32_t> result;
    for (const auto& [unused, other] : found) result.push_back(other);
    return result;
  }

  void visit(std::uint32_t metric) {
    const std::uint32_t node = node_of(metric);
    const double change = moved(metric).standard;
    if (change == 0) return;
    const std::vector<std::uint32_t> features = moved_neighbours(metric);
    double left = 1;
    if (!features.empty()) left = share_out(node, metric, features);
    constexpr double worth_proposing = 0.3;
    if (left > worth_proposing) propose(node, metric, features, left);
  }

  /// Shares of the features by regression; what is left after them and after those that are out of all experience.
  double share_out(std::uint32_t node, std::uint32_t metric, const std::vector<std::uint32_t>& features) {
    const auto size = static_cast<Eigen::Index>(features.size());
    Eigen::MatrixXf gram(size, size);
    Eigen::VectorXf with_target(size);
    for (Eigen::Index i = 0; i < size; ++i) {
      const std::uint32_t feature = features[static_cast<std::size_t>(i)];
      with_target(i) = static_cast<float>(moment(metric, feature));
      for (Eigen::Index k = 0; k <= i; ++k) {
        gram(i, k) = gram(k, i) = static_cast<float>(moment(feature, features[static_cast<std::size_t>(k)]));
      }
      gram(i, i) *= 1 + ridge;
    }
    const Eigen::VectorXf beta = gram.llt().solve(with_target);
    const double r2 = std::clamp(static_cast<double>(beta.dot(with_target)) / moment(metric, metric), 0.0, 1.0);
    const double change = moved(metric).standard;
    std::vector<double> parts(features.size());
    double sum = 0;
    double weight_sum = 0;
    double farthest = 0;
    std::vector<double> weights(features.size());
    for (std::size_t i = 0; i < features.size(); ++i) {
      const auto at = static_cast<Eigen::Index>(i);
      const Moved& feature = moved(features[i]);
      parts[i] = std::clamp(static_cast<double>(beta(at)) * feature.standard / change, 0.0, 1.0);
      sum += parts[i];
      if (with_target(at) * feature.standard * change <= 0) continue;
      weights[i] = parts[i] + 0.1 * std::abs(correlation(metric, features[i]));
      weight_sum += weights[i];
      farthest = std::max(farthest, std::abs(feature.by * correlation(metric, features[i])));
    }
    const double left = std::max(0.0, 1 - sum);
    // A feature that is farther out than ever tells nothing about how much it can do: a line is only where it was
    // fitted.
    const double beyond =
        most_beyond * std::sqrt(r2) * std::clamp((farthest - moved_scales) / (2 * moved_scales), 0.0, 1.0);
    double kept = left;
    for (std::size_t i = 0; i < features.size(); ++i) {
      double part = parts[i];
      if (weight_sum > 0) {
        part += left * beyond * weights[i] / weight_sum;
        kept -= left * beyond * weights[i] / weight_sum;
      }
      if (part <= 0) continue;
      const std::uint32_t to = node_of(features[i]);
      shares_[node].push_back({to, part});
    }
    return kept;
  }

  /// Metrics that no edge leads to, that moved, and that go with this one when all is well.
  void propose(std::uint32_t node, std::uint32_t metric, const std::vector<std::uint32_t>& known, double left) {
    const std::uint32_t entity = past_.metrics[metric].entity;
    const double change = moved(metric).standard;
    std::vector<std::pair<std::uint32_t, double>> proposals;
    double sum = 0;
    for (const std::uint32_t other : all_moved_) {
      if (past_.metrics[other].entity == entity || std::ranges::find(known, other) != known.end()) continue;
      // What asks something of this one, even through others, is moved by it, not the other way round.
      if (above(entity).contains(past_.metrics[other].entity)) continue;
      const double together = correlation(metric, other);
      if (std::abs(together) < least_proposed || together * moved(other).standard * change <= 0) continue;
      proposals.emplace_back(other, together * together);
      sum += together * together;
    }
    // All of them get no more than what the best ones tell: many that tell a little tell the same.
    for (const auto& [other, told] : proposals) {
      const std::uint32_t to = node_of(other);
      shares_[node].push_back({to, left * told * told / sum, true});
    }
  }

  /// Entities from which edges lead to this one.
  const std::set<std::uint32_t>& above(std::uint32_t entity) {
    const auto [found, added] = above_.try_emplace(entity);
    if (!added) return found->second;
    std::vector<std::uint32_t> next{entity};
    while (!next.empty()) {
      const std::uint32_t at = next.back();
      next.pop_back();
      for (const std::uint32_t caller : past_.callers[at]) {
        if (found->second.insert(caller).second) next.push_back(caller);
      }
    }
    return found->second;
  }

  StatisticsEngine& engine_;
  const PastModel& past_;
  const RowsView& rows_;
  std::size_t first_;
  std::size_t last_;
  std::vector<std::uint32_t> metrics_;  ///< by node; 0 is the symptom
  std::unordered_map<std::uint32_t, std::uint32_t> nodes_;
  Shares shares_;
  std::vector<std::uint32_t> all_moved_;
  std::map<std::uint32_t, std::set<std::uint32_t>> above_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, double> moments_;
};

StatisticsVerdict StatisticsEngine::judge(const RowsView& rows, std::size_t first, std::size_t last) {
  return Walk(*this, rows, first, last).verdict();
}

const NullTail& StatisticsEngine::null_tail(std::size_t rows) {
  if (const auto known = null_tails_.find(rows); known != null_tails_.end()) return known->second;
  const RowsView healthy = healthy_rows(*past_);
  const std::size_t length = std::min(rows, healthy.rows);
  constexpr std::size_t most_windows = 100;
  const std::size_t windows = healthy.rows - length + 1;
  const std::size_t step = std::max(std::max<std::size_t>(1, length / 2), windows / most_windows);
  std::vector<double> best;
  for (std::size_t first = 0; first < windows; first += step) {
    best.push_back(judge(healthy, first, first + length).best(past_->metrics[symptom_].entity));
  }
  return null_tails_.emplace(rows, NullTail(std::move(best))).first->second;
}

}  // namespace weir::explain
