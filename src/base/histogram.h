// Durations counted in buckets that grow with them: bounded memory, bounded relative error. Pure: no OS.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace weir {

/// Four buckets an octave from 64 ns on, below that a single one. A quantile is exact to its bucket, which is at most a
/// quarter as wide as the duration itself, and interpolated within it.
class DurationHistogram {
 public:
  static constexpr std::size_t kBuckets = 128;
  /// How far a quantile of at least 64 ns can be from the true one.
  static constexpr double kErrorPct = 25;

  static std::size_t bucket_of(std::uint64_t ns);
  /// The least duration that falls into the bucket.
  static std::uint64_t bucket_begin_ns(std::size_t bucket);

  DurationHistogram() = default;
  /// Of counts that were made elsewhere in the same buckets.
  DurationHistogram(std::span<const std::uint32_t, kBuckets> counts, std::uint64_t sum_ns, std::uint64_t max_ns);

  void add(std::uint64_t ns);
  DurationHistogram& operator+=(const DurationHistogram& other);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint64_t sum_ns() const { return sum_ns_; }
  [[nodiscard]] std::uint64_t max_ns() const { return max_ns_; }
  [[nodiscard]] std::uint64_t mean_ns() const { return count_ == 0 ? 0 : sum_ns_ / count_; }
  /// The duration that this share (0 .. 1) of all does not exceed; 0 when there are none.
  [[nodiscard]] std::uint64_t quantile_ns(double share) const;
  [[nodiscard]] std::span<const std::uint64_t, kBuckets> buckets() const { return buckets_; }

 private:
  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ns_ = 0;
  std::uint64_t max_ns_ = 0;
};

}  // namespace weir
