// What a metric is expected to be, given the metrics around it: a linear regression with a Gaussian residual.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "reason/explain/model.h"
#include "reason/explain/standard_columns.h"

namespace weir::explain {

/// More features than this are never kept.
inline constexpr std::size_t most_features = 16;

/// target = intercept + sum of coefficient times feature + normal(0, residual_sd), in the metrics' own units.
struct Conditional {
  std::uint32_t target = 0;
  std::uint32_t size = 0;  ///< features in use, those that go with the target most first; 0: nothing tells about it
  std::array<std::uint32_t, most_features> feature{};  ///< metrics
  std::array<float, most_features> coefficient{};
  float intercept = 0;
  float residual_sd = 0;
  float r2 = 0;  ///< share of the variance that the features tell, on the rows it was learnt from; 0 to 1

  [[nodiscard]] std::span<const std::uint32_t> features() const { return {feature.data(), size}; }
  [[nodiscard]] std::span<const float> coefficients() const { return {coefficient.data(), size}; }
  /// Given a value for each metric.
  [[nodiscard]] double expected(std::span<const float> values) const;
};

struct ConditionalSettings {
  std::size_t features = 10;        ///< B: of the candidates, those with the largest |correlation|
  float ridge = 0.02F;              ///< added to the diagonal of the features' correlations
  bool of_own_entity = true;        ///< other metrics of the same entity are candidates too
  bool of_other_statistics = true;  ///< of its own entity also other statistics of the same metric
  bool undirected = false;          ///< metrics of callers are candidates, besides those of callees
};

/// Learns conditionals from the rows of the columns: the healthy past, and a case in progress when they have one.
/// A target's missing rows are left out; a feature's missing value counts as its mean.
class ConditionalLearner {
 public:
  /// `columns` must outlive the learner.
  ConditionalLearner(StandardColumns& columns, const ConditionalSettings& settings);
  Conditional learn(std::uint32_t metric);

 private:
  void gather_candidates(std::uint32_t entity);
  std::uint32_t choose(std::uint32_t metric, const float* target, Conditional& result);
  void solve(const float* target, Conditional& result);
  float mask(std::uint32_t target, const float* column, float* to) const;

  StandardColumns& columns_;
  ConditionalSettings settings_;
  std::uint32_t entity_ = ~0U;  ///< whose candidates are gathered
  std::vector<std::uint32_t> candidates_;
  std::vector<const float*> candidate_columns_;
  std::vector<float> sums_;
  std::vector<float> scratch_;  ///< most_features + 1 columns
};

/// Of every metric of the past, by metric.
std::vector<Conditional> learn_conditionals(const PastModel& past, const ConditionalSettings& settings = {});

}  // namespace weir::explain
