#include "model/millisecond_bursts.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace weir::model {

namespace {

constexpr double kBitsASecond = 8000;  // of a byte in a millisecond
constexpr double kBurstLevel = 2;      // times the mean
constexpr std::size_t kQuietBins = 2;
constexpr double kPeriodic = 0.3;  // correlation that is told as a period
constexpr double kNearlyHighest = 0.8;
constexpr std::size_t kFewestPeriods = 3;

/// A millisecond below the mean may be the edge of two bins: two of them end a burst.
double rises_per_s(std::span<const std::uint32_t> bytes, double mean) {
  std::size_t rises = 0;
  std::size_t below = kQuietBins;
  for (const std::uint32_t bin : bytes) {
    if (bin <= mean) {
      ++below;
    } else if (below < kQuietBins) {
      below = 0;
    } else if (bin > kBurstLevel * mean) {
      below = 0;
      ++rises;
    }
  }
  return static_cast<double>(rises) * 1000 / static_cast<double>(bytes.size());
}

/// Normalised for the number of pairs that a lag has; `power` is the sum of squares around the mean.
std::vector<double> correlate(std::span<const std::uint32_t> bytes, double mean, double power) {
  const std::size_t n = bytes.size();
  std::vector<double> off(n);
  std::ranges::transform(bytes, off.begin(), [mean](std::uint32_t bin) { return bin - mean; });
  std::vector<double> correlation(n / kFewestPeriods + 1);
  for (std::size_t lag = 0; lag < correlation.size(); ++lag) {
    const double sum = std::inner_product(off.begin() + static_cast<std::ptrdiff_t>(lag), off.end(), off.begin(), 0.0);
    correlation[lag] = sum / power * static_cast<double>(n) / static_cast<double>(n - lag);
  }
  return correlation;
}

/// The first peak behind where the correlation is first lost: a burst is like itself a millisecond later.
std::optional<double> period_of(const std::vector<double>& correlation) {
  const auto lost = std::ranges::find_if(correlation, [](double value) { return value < kPeriodic / 2; });
  if (lost == correlation.end()) return std::nullopt;
  const double highest = *std::max_element(lost, correlation.end());
  if (highest < kPeriodic) return std::nullopt;
  const auto near =
      std::find_if(lost, correlation.end(), [&](double value) { return value >= kNearlyHighest * highest; });
  // Up to its top.
  auto top = near;
  while (top + 1 != correlation.end() && *(top + 1) > *top) ++top;
  return static_cast<double>(top - correlation.begin());
}

}  // namespace

MillisecondBursts millisecond_bursts(std::span<const std::uint32_t> bytes) {
  MillisecondBursts result;
  result.milliseconds = static_cast<std::uint32_t>(bytes.size());
  for (const std::uint32_t bin : bytes) result.bytes += bin;
  if (result.bytes == 0) return result;
  const auto n = static_cast<double>(bytes.size());
  const double mean = static_cast<double>(result.bytes) / n;
  std::vector<std::uint32_t> sorted(bytes.begin(), bytes.end());
  std::ranges::sort(sorted);
  const auto rank = static_cast<std::size_t>(std::ceil(0.99 * n)) - 1;
  double power = 0;
  for (const std::uint32_t bin : bytes) power += (bin - mean) * (bin - mean);
  result.mean_bps = mean * kBitsASecond;
  result.p99_bps = sorted[rank] * kBitsASecond;
  result.max_bps = sorted.back() * kBitsASecond;
  result.p99_over_mean = sorted[rank] / mean;
  result.bursts_per_s = rises_per_s(bytes, mean);
  result.idle_share = static_cast<double>(std::ranges::count(bytes, 0U)) / n;
  result.variation = std::sqrt(power / n) / mean;
  if (power > 0) result.period_ms = period_of(correlate(bytes, mean, power));
  return result;
}

}  // namespace weir::model
