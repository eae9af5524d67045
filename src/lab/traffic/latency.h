// Latencies in logarithmic buckets: constant memory, relative error below 1/32, safe to share between processes.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace weir::lab {

/// Counts of durations. Buckets are linear below 32 ns and then 32 a power of two, as in an HDR histogram
/// (G. Tene, HdrHistogram). One writer, any readers; lives in shared memory, so it holds no pointers.
class LatencyHistogram {
 public:
  void add(std::chrono::nanoseconds value) {
    counts_[bucket(static_cast<std::uint64_t>(std::max<std::int64_t>(0, value.count())))].fetch_add(
        1, std::memory_order_relaxed);
  }

  [[nodiscard]] std::uint64_t count() const;
  /// The least duration that `fraction` (0..1) of the samples do not exceed, as the upper end of its bucket; 0 without
  /// samples.
  [[nodiscard]] std::chrono::nanoseconds percentile(double fraction) const;

 private:
  static constexpr unsigned kSubBits = 5;
  static constexpr std::size_t kBuckets = (64 - kSubBits + 1) << kSubBits;
  static std::size_t bucket(std::uint64_t value);
  static std::uint64_t upper_end(std::size_t bucket);

  std::array<std::atomic<std::uint64_t>, kBuckets> counts_{};
};

}  // namespace weir::lab
