// How large scores get when all is well: the distribution of scores over healthy windows, with a tail beyond them.
#pragma once

#include <vector>

namespace weir::explain {

/// Counts up to the 80th percentile of the healthy scores; beyond it an exponential tail that is fitted to what exceeds
/// it. The highest 2 % take no part in the fit: a long past holds incidents of its own, which must not make later ones
/// look usual.
class NullTail {
 public:
  explicit NullTail(std::vector<double> healthy_scores);
  /// Probability of at least this score in a healthy window.
  [[nodiscard]] double p_value(double score) const;

 private:
  std::vector<double> sorted_;  ///< ascending, without the highest
  double bend_ = 0;
  double mean_excess_ = 0;
};

}  // namespace weir::explain
