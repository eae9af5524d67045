// Rounds of resampling, backwards in closed form and forwards by drawing.
#include "reason/explain/murphy_plan.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

namespace weir::explain {

namespace {

/// Samples that are drawn together: few enough for their values to stay in the cache, a multiple of 16.
constexpr std::size_t batch = 512;

/// Mean and variance of what comes in batches (Chan, Golub and LeVeque 1979).
class Spread {
 public:
  void add(std::span<const float> values) {
    double mean = 0;
    for (const float value : values) mean += value;
    mean /= static_cast<double>(values.size());
    double squares = 0;
    for (const float value : values) squares += (value - mean) * (value - mean);
    const auto n = static_cast<double>(values.size());
    const double distance = mean - mean_;
    squares_ += squares + distance * distance * n * count_ / (n + count_);
    mean_ += distance * n / (n + count_);
    count_ += n;
  }
  [[nodiscard]] double mean() const { return mean_; }
  [[nodiscard]] double sd() const { return count_ > 1 ? std::sqrt(squares_ / (count_ - 1)) : 0; }

 private:
  double mean_ = 0;
  double squares_ = 0;
  double count_ = 0;
};

/// The values of one batch in one arm, a column a value.
class Arm {
 public:
  Arm(const ResamplingPlan& plan, bool changed) : plan_(&plan), columns_(plan.start.size() * batch) {
    start_ = plan.start;
    if (changed) std::ranges::copy(plan.changed, start_.begin() + static_cast<std::ptrdiff_t>(plan.steps.size()));
  }

  /// The symptom of one batch.
  std::span<const float> draw(Random& random) {
    for (std::size_t i = 0; i < start_.size(); ++i) std::fill_n(column(i), batch, start_[i]);
    for (std::size_t round = 0; round < plan_->rounds; ++round) {
      for (std::size_t i = 0; i < plan_->steps.size(); ++i) draw(i, random);
    }
    return {column(plan_->steps.size() - 1), batch};
  }

 private:
  float* column(std::size_t value) { return columns_.data() + value * batch; }

  void draw(std::size_t value, Random& random) {
    const ResamplingPlan::Step& step = plan_->steps[value];
    random.fill_normal(drawn_);
    for (float& x : drawn_) x = step.constant + step.sd * x;
    std::array<const float*, most_features> features{};
    for (std::uint32_t i = 0; i < step.size; ++i) features[i] = column(step.feature[i]);
    add_columns(drawn_.data(), {features.data(), step.size}, {step.coefficient.data(), step.size}, batch);
    std::ranges::copy(drawn_, column(value));
  }

  const ResamplingPlan* plan_;
  std::vector<float> columns_;
  std::vector<float> start_;
  std::array<float, batch> drawn_{};
};

}  // namespace

CounterfactualEffect follow_back(const ResamplingPlan& plan) {
  std::vector<double> weight(plan.start.size(), 0.0);
  weight[plan.steps.size() - 1] = 1;
  double mean = 0;
  double variance = 0;
  for (std::size_t round = 0; round < plan.rounds; ++round) {
    for (std::size_t i = plan.steps.size(); i-- > 0;) {
      const double own = std::exchange(weight[i], 0.0);
      if (own == 0) continue;
      const ResamplingPlan::Step& step = plan.steps[i];
      mean += own * step.constant;
      variance += own * step.sd * own * step.sd;
      for (std::uint32_t k = 0; k < step.size; ++k) weight[step.feature[k]] += own * step.coefficient[k];
    }
  }
  for (std::size_t i = 0; i < plan.start.size(); ++i) mean += weight[i] * plan.start[i];
  CounterfactualEffect effect{.factual = mean, .counterfactual = mean};
  for (std::size_t i = 0; i < plan.changed.size(); ++i) {
    const std::size_t value = plan.steps.size() + i;
    effect.counterfactual += weight[value] * (static_cast<double>(plan.changed[i]) - plan.start[value]);
  }
  effect.factual_sd = effect.counterfactual_sd = std::sqrt(variance);
  return effect;
}

CounterfactualEffect resample(const ResamplingPlan& plan, std::size_t samples, Random& random) {
  Arm factual(plan, false);
  Arm counterfactual(plan, true);
  Spread factual_spread;
  Spread counterfactual_spread;
  for (std::size_t done = 0; done < samples; done += batch) {
    const std::size_t count = std::min(batch, samples - done);
    factual_spread.add(factual.draw(random).first(count));
    counterfactual_spread.add(counterfactual.draw(random).first(count));
  }
  return {factual_spread.mean(), counterfactual_spread.mean(), factual_spread.sd(), counterfactual_spread.sd()};
}

}  // namespace weir::explain
