// Murphy's counterfactual: would the symptom go away, were this entity as usual? The metrics between the two are drawn
// anew from their conditionals, round after round, once with the candidate as it is and once with it moved to normal
// (after the published abstracts of Murphy, SIGCOMM 2023; what those leave open is decided here).
//
// Conditionals are linear and Gaussian, so the outcome of the rounds is normal, and its mean and variance can be had by
// following the rounds backwards from the symptom: `analytic` does, `sampled` draws. Both mean the same.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "reason/explain/conditionals.h"
#include "reason/explain/engines.h"
#include "reason/explain/murphy_plan.h"

namespace weir::explain {

/// Of Welch's t-test that the symptom is better counterfactually, with so many samples an arm.
double p_value_of(const CounterfactualEffect& effect, Bad way, std::size_t samples);

/// Of one case. The conditionals are learnt as they are needed, from the past and the rows of the case, unless they are
/// given.
class Counterfactuals {
 public:
  /// To move a candidate's metrics all the way.
  static constexpr double to_normal = std::numeric_limits<double>::infinity();

  /// `learnt`: by metric, or empty. What is given must outlive this.
  Counterfactuals(const Case& incident, const MurphySettings& settings, std::span<const Conditional> learnt = {});

  /// Entities that may be causes: reached from the symptom's through such as are out of the usual, and so themselves.
  [[nodiscard]] std::vector<std::uint32_t> candidates() const;
  /// How far the entity's metrics are from usual since the onset: the largest mean deviation, in scales.
  [[nodiscard]] double anomaly(std::uint32_t entity) const;

  /// The candidate's metrics moved towards normal by so many scales, and no further than normal. Without a path from it
  /// to the symptom, both arms are the symptom as it is.
  CounterfactualEffect analytic(std::uint32_t candidate, double scales);
  CounterfactualEffect sampled(std::uint32_t candidate, double scales);
  /// The symptom's mean since the onset, were this entity as usual.
  double symptom_without(std::uint32_t candidate);

 private:
  const Conditional& conditional(std::uint32_t metric);
  ResamplingPlan plan_of(std::uint32_t candidate, double scales);
  void add_step(ResamplingPlan& plan, std::uint32_t metric);
  [[nodiscard]] CounterfactualEffect symptom_as_it_is() const;
  [[nodiscard]] std::vector<std::uint32_t> between(std::uint32_t candidate) const;

  const Case* incident_;
  MurphySettings settings_;
  std::span<const Conditional> given_;
  StandardColumns columns_;
  ConditionalLearner learner_;
  std::vector<Conditional> learnt_;
  std::vector<std::uint32_t> learnt_at_;  ///< by metric; one more than its place, 0: not learnt
  std::vector<float> observed_;           ///< by metric: mean since the onset, usual where nothing was measured
  std::vector<std::uint32_t> distance_;   ///< by entity: edges to the symptom's
  std::vector<std::uint32_t> local_;      ///< by metric: its place in the plan being made
};

}  // namespace weir::explain
