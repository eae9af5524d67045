#include "reason/explain/mass.h"

#include <algorithm>
#include <cmath>

namespace weir::explain {

namespace {

/// Scales beyond which a mass is out of what is usual.
constexpr double unusual_scales = 3;
/// Entities whose mass nobody asked for that are proposed at most; the heaviest.
constexpr std::size_t most_proposed = 32;

bool adds_up(Quantity quantity) {
  return quantity == Quantity::latency || quantity == Quantity::availability || quantity == Quantity::failures ||
         quantity == Quantity::drops;
}

/// The metric of an entity that is like the symptom: the same name and statistic, else the same statistic, else any of
/// that quantity.
std::optional<std::uint32_t> alike(const PastModel& past, std::uint32_t entity, const MetricInfo& symptom) {
  std::optional<std::uint32_t> best;
  int best_fit = -1;
  for (const std::uint32_t metric : past.metrics_of[entity]) {
    const MetricInfo& info = past.metrics[metric];
    if (info.quantity != symptom.quantity) continue;
    const int fit = (info.base == symptom.base ? 2 : 0) + (info.statistic == symptom.statistic ? 1 : 0);
    if (fit > best_fit) {
      best_fit = fit;
      best = metric;
    }
  }
  return best;
}

std::optional<std::uint32_t> requests_of(const PastModel& past, std::uint32_t entity) {
  std::optional<std::uint32_t> best;
  for (const std::uint32_t metric : past.metrics_of[entity]) {
    const MetricInfo& info = past.metrics[metric];
    if (info.quantity != Quantity::requests) continue;
    if (!best || info.statistic == "Sum") best = metric;
  }
  return best;
}

/// Callees may keep their callers waiting at once, and some of their time is not waited for: so many times a caller's
/// own total is still believed, and so many of the edges must be.
constexpr double most_of_caller = 3;
constexpr double least_believed = 0.8;

}  // namespace

RowsView healthy_rows(const PastModel& past) {
  return {past.healthy.data(), past.rows()};
}
RowsView window_rows(const Case& incident) {
  return {incident.window.data(), incident.rows()};
}

std::optional<MassModel> MassModel::make(const PastModel& past, std::uint32_t symptom) {
  const MetricInfo& info = past.metrics[symptom];
  if (!adds_up(info.quantity)) return std::nullopt;
  MassModel model;
  model.past_ = &past;
  model.symptom_entity_ = info.entity;
  model.quantity_ = info.quantity;
  const std::size_t entities = past.graph.entities.size();
  model.sources_.resize(entities);
  model.usual_requests_.assign(entities, 1);
  model.centre_.assign(entities, 0);
  model.scale_.assign(entities, 0);
  model.unusual_.assign(entities, 0);
  if (info.quantity == Quantity::availability && past.baselines[symptom].high > 1.5F) model.percent_ = 100;
  std::size_t others = 0;
  for (std::uint32_t entity = 0; entity < entities; ++entity) {
    const auto value = entity == info.entity ? std::optional(symptom) : alike(past, entity, info);
    if (!value || (past.baselines[*value].weak() && entity != info.entity)) continue;
    model.sources_[entity] = MassSource{*value, requests_of(past, entity)};
    others += entity == info.entity ? 0 : 1;
    const auto& requests = model.sources_[entity]->requests;
    model.usual_requests_[entity] = requests ? past.baselines[*requests].centre : 1;
  }
  if (others == 0 || !model.adds_up_here()) return std::nullopt;
  const RowsView rows = healthy_rows(past);
  std::vector<float> series(past.rows());
  for (std::uint32_t entity = 0; entity < entities; ++entity) {
    if (!model.sources_[entity]) continue;
    for (std::size_t row = 0; row < rows.rows; ++row) series[row] = static_cast<float>(model.mass(entity, rows, row));
    const Baseline usual = baseline_of(series, Quantity::other);
    const Baseline& value = past.baselines[model.sources_[entity]->value];
    // One failure is none; two hundredths of the usual latency for all requests are none either.
    const double least =
        info.quantity == Quantity::latency ? 0.02 * std::abs(value.centre) * model.usual_requests_[entity] : 1.0;
    model.centre_[entity] = usual.centre;
    model.scale_[entity] = std::max(static_cast<double>(usual.scale), least);
    model.unusual_[entity] =
        std::max(static_cast<double>(usual.high - usual.centre), unusual_scales * model.scale_[entity]);
  }
  return model;
}

double MassModel::usual_total(std::uint32_t entity) const {
  const auto& source = sources_[entity];
  if (!source || quantity_ == Quantity::availability) return 0;
  const double level = past_->baselines[source->value].centre;
  return quantity_ == Quantity::latency ? level * usual_requests_[entity] : level;
}

bool MassModel::adds_up_here() const {
  std::size_t edges = 0;
  std::size_t believed = 0;
  for (const Edge& edge : past_->graph.edges) {
    const double from = usual_total(edge.from);
    const double to = usual_total(edge.to);
    if (from <= 0 || to <= 0) continue;
    ++edges;
    const bool both_ways = std::ranges::binary_search(past_->callees[edge.to], edge.from);
    believed += to <= most_of_caller * from || both_ways ? 1 : 0;
  }
  return static_cast<double>(believed) >= least_believed * static_cast<double>(edges);
}

std::string_view MassModel::unit() const {
  switch (quantity_) {
    case Quantity::latency:
      return "request-seconds";
    case Quantity::drops:
      return "packets";
    default:
      return "failures";
  }
}

double MassModel::mass(std::uint32_t entity, const RowsView& rows, std::size_t row) const {
  const auto& source = sources_[entity];
  if (!source) return 0;
  const double value = rows.at(source->value, row);
  const double requests = source->requests ? rows.at(*source->requests, row) : 1;
  if (std::isnan(value) || std::isnan(requests)) return 0;
  const double usual = past_->baselines[source->value].centre;
  switch (quantity_) {
    case Quantity::latency:
      return (value - usual) * requests;
    case Quantity::availability:
      return (usual - value) / percent_ * requests;
    default:
      return value - usual;
  }
}

void MassModel::masses(const RowsView& rows, std::size_t row, std::vector<double>& result) const {
  result.assign(sources_.size(), 0);
  for (std::uint32_t entity = 0; entity < sources_.size(); ++entity) {
    if (!sources_[entity]) continue;
    const double excess = mass(entity, rows, row) - centre_[entity];
    const double least = entity == symptom_entity_ ? 0 : unusual_scales * scale_[entity];
    if (excess > least) result[entity] = excess;
  }
}

namespace {

/// Mass of each entity that its known callers, as far as they are out of the usual, cannot have asked for.
std::vector<std::pair<std::uint32_t, double>> unasked(const PastModel& past, const std::vector<double>& masses,
                                                      std::uint32_t symptom_entity, bool undirected) {
  std::vector<std::pair<std::uint32_t, double>> result;
  for (std::uint32_t entity = 0; entity < masses.size(); ++entity) {
    if (masses[entity] <= 0 || entity == symptom_entity) continue;
    double left = masses[entity];
    for (const std::uint32_t caller : past.callers[entity]) left -= masses[caller];
    if (undirected) {
      for (const std::uint32_t callee : past.callees[entity]) left -= masses[callee];
    }
    if (left > 0) result.emplace_back(entity, left);
  }
  if (result.size() > most_proposed) {
    std::ranges::nth_element(result, result.begin() + most_proposed, std::greater<>(),
                             [](const auto& entry) { return entry.second; });
    result.resize(most_proposed);
  }
  return result;
}

}  // namespace

Shares mass_shares(const PastModel& past, const std::vector<double>& masses, std::uint32_t symptom_entity,
                   bool undirected) {
  Shares shares(masses.size());
  const auto proposals = unasked(past, masses, symptom_entity, undirected);
  for (std::uint32_t entity = 0; entity < masses.size(); ++entity) {
    const double whole = masses[entity];
    if (whole <= 0) continue;
    auto& list = shares[entity];
    const auto add = [&](const std::vector<std::uint32_t>& neighbours) {
      for (const std::uint32_t other : neighbours) {
        if (masses[other] > 0) list.push_back({other, std::min(1.0, masses[other] / whole)});
      }
    };
    add(past.callees[entity]);
    if (undirected) add(past.callers[entity]);
    const std::size_t known = list.size();
    for (const auto& [other, left] : proposals) {
      const bool listed = std::any_of(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(known),
                                      [&, to = other](const Share& share) { return share.to == to; });
      if (other != entity && !listed) list.push_back({other, std::min(1.0, left / whole), true});
    }
  }
  return shares;
}

}  // namespace weir::explain
