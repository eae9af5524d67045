#include "reason/explain/null_tail.h"

#include <algorithm>
#include <cmath>

namespace weir::explain {

namespace {

constexpr double beyond_bend = 0.2;
constexpr double contaminated = 0.02;
/// Scores are natural logarithms of how far out something is: a past without any noise still has a tail.
constexpr double least_mean_excess = 0.25;

}  // namespace

NullTail::NullTail(std::vector<double> healthy_scores) : sorted_(std::move(healthy_scores)) {
  std::ranges::sort(sorted_);
  sorted_.resize(sorted_.size() - static_cast<std::size_t>(contaminated * static_cast<double>(sorted_.size())));
  if (sorted_.empty()) {
    mean_excess_ = 1;
    return;
  }
  const auto bend = static_cast<std::size_t>((1 - beyond_bend) * static_cast<double>(sorted_.size() - 1));
  bend_ = sorted_[bend];
  double sum = 0;
  for (std::size_t i = bend; i < sorted_.size(); ++i) sum += sorted_[i] - bend_;
  mean_excess_ = std::max(least_mean_excess, sum / static_cast<double>(sorted_.size() - bend));
}

double NullTail::p_value(double score) const {
  if (score > bend_) return beyond_bend * std::exp(-(score - bend_) / mean_excess_);
  const auto at = std::ranges::lower_bound(sorted_, score);
  const auto least =
      static_cast<double>(sorted_.end() - at) / static_cast<double>(std::max<std::size_t>(1, sorted_.size()));
  return std::max(beyond_bend, least);
}

}  // namespace weir::explain
