#include "lab/traffic/latency.h"

#include <bit>
#include <cmath>

namespace weir::lab {

std::size_t LatencyHistogram::bucket(std::uint64_t value) {
  if (value < (1U << kSubBits)) return value;
  const unsigned exponent = static_cast<unsigned>(std::bit_width(value)) - 1 - kSubBits;
  // The leading 1 of the mantissa adds one full range of sub-buckets.
  return (static_cast<std::size_t>(exponent) << kSubBits) + (value >> exponent);
}

std::uint64_t LatencyHistogram::upper_end(std::size_t bucket) {
  constexpr std::size_t kSub = std::size_t{1} << kSubBits;
  if (bucket < 2 * kSub) return bucket;
  const std::size_t exponent = (bucket >> kSubBits) - 1;
  const std::uint64_t mantissa = kSub + (bucket & (kSub - 1));
  return (mantissa << exponent) + ((std::uint64_t{1} << exponent) - 1);
}

std::uint64_t LatencyHistogram::count() const {
  std::uint64_t sum = 0;
  for (const auto& count : counts_) sum += count.load(std::memory_order_relaxed);
  return sum;
}

std::chrono::nanoseconds LatencyHistogram::percentile(double fraction) const {
  const std::uint64_t all = count();
  if (all == 0) return {};
  const auto wanted = static_cast<std::uint64_t>(std::max(1.0, std::ceil(fraction * static_cast<double>(all))));
  std::uint64_t passed = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    passed += counts_[i].load(std::memory_order_relaxed);
    if (passed >= wanted) return std::chrono::nanoseconds(static_cast<std::int64_t>(upper_end(i)));
  }
  return {};
}

}  // namespace weir::lab
