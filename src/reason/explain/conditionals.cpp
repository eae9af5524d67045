// Choosing features and solving the ridge regression: small dense systems, without allocation.
#include "reason/explain/conditionals.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

namespace weir::explain {

namespace {

using SmallMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, 0, most_features, most_features>;
using SmallVector = Eigen::Matrix<float, Eigen::Dynamic, 1, 0, most_features, 1>;

/// A column that was measured in fewer rows tells nothing.
constexpr std::uint32_t fewest_values = 8;

}  // namespace

double Conditional::expected(std::span<const float> values) const {
  double sum = intercept;
  for (std::uint32_t i = 0; i < size; ++i) sum += static_cast<double>(coefficient[i]) * values[feature[i]];
  return sum;
}

ConditionalLearner::ConditionalLearner(StandardColumns& columns, const ConditionalSettings& settings)
    : columns_(columns), settings_(settings), scratch_((most_features + 1) * columns.stride()) {
  settings_.features = std::min(settings_.features, most_features);
}

void ConditionalLearner::gather_candidates(std::uint32_t entity) {
  if (entity == entity_) return;
  entity_ = entity;
  candidates_.clear();
  candidate_columns_.clear();
  const PastModel& past = columns_.past();
  const auto take = [&](std::uint32_t from) {
    for (const std::uint32_t metric : past.metrics_of[from]) {
      const float* column = columns_.column(metric);
      const auto& moments = columns_.moments(metric);
      if (moments.sd == 0 || moments.values < fewest_values) continue;
      candidates_.push_back(metric);
      candidate_columns_.push_back(column);
    }
  };
  for (const std::uint32_t callee : past.callees[entity]) take(callee);
  if (settings_.undirected) {
    for (const std::uint32_t caller : past.callers[entity]) {
      if (!std::ranges::binary_search(past.callees[entity], caller)) take(caller);
    }
  }
  if (settings_.of_own_entity) take(entity);
  sums_.resize(candidates_.size());
}

/// Puts the best candidates into `result`, with their correlations in place of coefficients.
std::uint32_t ConditionalLearner::choose(std::uint32_t metric, const float* target, Conditional& result) {
  dot_products(target, candidate_columns_, columns_.stride(), sums_.data());
  const auto& metrics = columns_.past().metrics;
  const float own_values = static_cast<float>(columns_.moments(metric).values);
  std::uint32_t size = 0;
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    const std::uint32_t candidate = candidates_[i];
    if (candidate == metric) continue;
    const auto& other = metrics[candidate];
    if (!settings_.of_other_statistics && other.entity == entity_ && other.base == metrics[metric].base) continue;
    const float correlation =
        std::abs(sums_[i]) / std::sqrt(own_values * static_cast<float>(columns_.moments(candidate).values));
    if (size == settings_.features && !(correlation > result.coefficient[size - 1])) continue;
    std::uint32_t at = size < settings_.features ? size++ : size - 1;
    for (; at > 0 && result.coefficient[at - 1] < correlation; --at) {
      result.coefficient[at] = result.coefficient[at - 1];
      result.feature[at] = result.feature[at - 1];
    }
    result.coefficient[at] = correlation;
    result.feature[at] = candidate;
  }
  return size;
}

/// Copies the column about its mean in the rows where the target was measured, and 0 elsewhere. Returns that mean.
float ConditionalLearner::mask(std::uint32_t target, const float* column, float* to) const {
  double sum = 0;
  for (std::size_t row = 0; row < columns_.rows(); ++row) sum += columns_.measured(target, row) ? column[row] : 0;
  const auto mean = static_cast<float>(sum / columns_.moments(target).values);
  for (std::size_t row = 0; row < columns_.rows(); ++row) {
    to[row] = columns_.measured(target, row) ? column[row] - mean : 0;
  }
  std::fill(to + columns_.rows(), to + columns_.stride(), 0.0F);
  return mean;
}

void ConditionalLearner::solve(const float* target, Conditional& result) {
  const std::size_t stride = columns_.stride();
  const auto& own = columns_.moments(result.target);
  const bool gaps = own.values < columns_.rows();
  std::array<const float*, most_features> x{};
  std::array<float, most_features> shift{};
  for (std::uint32_t i = 0; i < result.size; ++i) {
    x[i] = columns_.column(result.feature[i]);
    if (!gaps) continue;
    float* const room = scratch_.data() + (i + 1) * stride;
    shift[i] = mask(result.target, x[i], room);
    x[i] = room;
  }
  const auto size = static_cast<Eigen::Index>(result.size);
  const float share = 1 / static_cast<float>(own.values);
  SmallMatrix gram(size, size);
  SmallVector right(size);
  std::array<float, most_features + 1> sums{};
  dot_products(target, {x.data(), result.size}, stride, sums.data());
  for (Eigen::Index i = 0; i < size; ++i) right(i) = sums[static_cast<std::size_t>(i)] * share;
  for (std::uint32_t i = 0; i < result.size; ++i) {
    dot_products(x[i], {x.data(), i + 1U}, stride, sums.data());
    for (std::uint32_t k = 0; k <= i; ++k) gram(i, k) = sums[k] * share;
    gram(i, i) += settings_.ridge;
  }
  const SmallVector solved = Eigen::LLT<Eigen::Ref<SmallMatrix>>(gram).solve(right);
  const SmallVector taken = -solved;
  float* const residual = scratch_.data();
  std::copy(target, target + stride, residual);
  add_columns(residual, {x.data(), result.size}, {taken.data(), result.size}, stride);
  dot_products(residual, std::array<const float*, 1>{residual}, stride, sums.data());
  const float left = sums[0] * share;
  result.r2 = std::clamp(1 - left, 0.0F, 1.0F);
  const float freedom = std::max(1.0F, static_cast<float>(own.values) - static_cast<float>(result.size) - 1);
  result.residual_sd = own.sd * std::sqrt(left * static_cast<float>(own.values) / freedom);
  for (std::uint32_t i = 0; i < result.size; ++i) {
    const auto& feature = columns_.moments(result.feature[i]);
    result.coefficient[i] = solved(i) * own.sd / feature.sd;
    result.intercept -= result.coefficient[i] * (feature.mean + shift[i] * feature.sd);
  }
}

Conditional ConditionalLearner::learn(std::uint32_t metric) {
  gather_candidates(columns_.past().metrics[metric].entity);
  Conditional result{.target = metric};
  const float* target = columns_.column(metric);
  const auto& own = columns_.moments(metric);
  result.intercept = own.mean;
  result.residual_sd = own.sd;
  if (own.sd == 0 || own.values < fewest_values || settings_.features == 0) return result;
  result.size = choose(metric, target, result);
  if (result.size > 0) solve(target, result);
  return result;
}

std::vector<Conditional> learn_conditionals(const PastModel& past, const ConditionalSettings& settings) {
  StandardColumns columns(past);
  ConditionalLearner learner(columns, settings);
  std::vector<Conditional> result(past.metrics.size());
  for (const auto& metrics : past.metrics_of) {
    for (const std::uint32_t metric : metrics) result[metric] = learner.learn(metric);
  }
  return result;
}

}  // namespace weir::explain
