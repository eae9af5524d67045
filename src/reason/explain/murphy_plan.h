// One counterfactual, as what is drawn in which order; and the two ways to carry it out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "reason/explain/conditionals.h"
#include "reason/explain/random.h"

namespace weir::explain {

/// What becomes of the symptom with a candidate as it is (factual) and with it changed (counterfactual).
struct CounterfactualEffect {
  double factual = 0;
  double counterfactual = 0;
  double factual_sd = 0;
  double counterfactual_sd = 0;
  /// What the change takes away from the symptom.
  [[nodiscard]] double change() const { return factual - counterfactual; }
};

/// Values are numbered: first those that are drawn, in their order, the symptom last; then the candidate's.
struct ResamplingPlan {
  /// value = constant + sum of coefficient times feature + normal(0, sd)
  struct Step {
    std::array<std::uint32_t, most_features> feature{};
    std::array<float, most_features> coefficient{};
    std::uint32_t size = 0;
    float constant = 0;
    float sd = 0;
  };
  std::vector<Step> steps;     ///< of one round
  std::vector<float> start;    ///< all values, as they were observed
  std::vector<float> changed;  ///< the candidate's, counterfactually
  std::size_t rounds = 0;
};

/// The distribution of the symptom after the rounds, exactly: each round is linear in what it starts from and in its
/// draws, so the symptom's weights on them, followed backwards, give mean and variance.
CounterfactualEffect follow_back(const ResamplingPlan& plan);
/// The same by drawing so many samples an arm, with draws of their own.
CounterfactualEffect resample(const ResamplingPlan& plan, std::size_t samples, Random& random);

}  // namespace weir::explain
