#include "reason/explain/mass_engine.h"

#include <algorithm>
#include <cmath>

#include "reason/explain/engine_cache.h"

namespace weir::explain {

double MassVerdict::Entity::score(std::size_t of_rows) const {
  return of_rows < 2 ? sum : 2 * std::sqrt(most * std::max(0.0, sum - most));
}

MassEngine::MassEngine(const PastModel& past, MassModel model, std::uint32_t symptom_entity, bool undirected)
    : past_(&past), model_(std::move(model)), symptom_entity_(symptom_entity), undirected_(undirected) {}

std::shared_ptr<const MassEngine> MassEngine::of(const PastModel& past, std::uint32_t symptom, bool undirected) {
  const std::lock_guard lock(past.engines->mutex);
  auto& known = past.engines->mass[{symptom, undirected}];
  if (known) return known;
  auto model = MassModel::make(past, symptom);
  if (!model) return nullptr;
  MassEngine engine(past, *std::move(model), past.metrics[symptom].entity, undirected);
  engine.learn_healthy_rows();
  known = std::make_shared<const MassEngine>(std::move(engine));
  return known;
}

void MassEngine::learn_healthy_rows() {
  const RowsView healthy = healthy_rows(*past_);
  healthy_.resize(healthy.rows);
  std::vector<double> masses;
  for (std::size_t row = 0; row < healthy.rows; ++row) {
    MassVerdict verdict;
    judge_row(healthy, row, verdict, masses);
    for (const auto& [entity, found] : verdict.entities) {
      if (entity != symptom_entity_ && found.sum > 0) healthy_[row].emplace_back(entity, found.sum);
    }
  }
}

void MassEngine::judge_row(const RowsView& rows, std::size_t row, MassVerdict& verdict,
                           std::vector<double>& masses) const {
  model_.masses(rows, row, masses);
  const double excess = masses[symptom_entity_];
  if (excess <= 0) return;
  const Blame blame = follow_blame(mass_shares(*past_, masses, symptom_entity_, undirected_), symptom_entity_);
  verdict.excess += excess;
  const double out = std::min(1.0, excess / model_.unusual(symptom_entity_));
  for (std::uint32_t entity = 0; entity < blame.kept.size(); ++entity) {
    const double kept = blame.kept[entity];
    if (kept <= 0) continue;
    auto& found = verdict.entities[entity];
    found.blame += kept * excess;
    const double says = kept * out * std::log(std::max(1.0, masses[entity] / model_.unusual(entity)));
    found.sum += says;
    found.most = std::max(found.most, says);
  }
  for (const auto& [edge, part] : blame.passed) {
    auto& passed = verdict.passed[edge];
    passed.first += part.first * excess;
    passed.second = part.second;
  }
}

MassVerdict MassEngine::judge(const RowsView& rows, std::size_t first, std::size_t last) const {
  MassVerdict verdict{.rows = last - first};
  std::vector<double> masses;
  for (std::size_t row = first; row < last; ++row) judge_row(rows, row, verdict, masses);
  if (verdict.excess <= 0) return verdict;
  double sum = 0;
  for (const auto& [entity, found] : verdict.entities) sum += found.blame;
  for (auto& [entity, found] : verdict.entities) found.blame /= sum;
  return verdict;
}

NullTail MassEngine::null_tail(std::size_t rows) const {
  const std::size_t length = std::min(rows, healthy_.size());
  std::vector<double> best;
  for (std::size_t first = 0; first + length <= healthy_.size(); ++first) {
    std::map<std::uint32_t, MassVerdict::Entity> sums;
    for (std::size_t row = first; row < first + length; ++row) {
      for (const auto& [entity, says] : healthy_[row]) {
        auto& found = sums[entity];
        found.sum += says;
        found.most = std::max(found.most, says);
      }
    }
    double most = 0;
    for (const auto& [entity, found] : sums) most = std::max(most, found.score(length));
    best.push_back(most);
  }
  return NullTail(std::move(best));
}

}  // namespace weir::explain
