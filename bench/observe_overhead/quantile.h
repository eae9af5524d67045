// Where a share of the values lies.
#pragma once

#include <algorithm>
#include <vector>

namespace weir::bench {

/// The value that this share (0 .. 1) of all does not exceed, between two of them interpolated; 0 of none.
inline double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const double at = share * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

}  // namespace weir::bench
