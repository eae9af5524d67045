#include "base/histogram.h"

#include <algorithm>
#include <bit>

namespace weir {

namespace {

constexpr std::uint64_t kFirstOctaveNs = 64;
constexpr unsigned kFirstOctaveBits = 6;

}  // namespace

std::size_t DurationHistogram::bucket_of(std::uint64_t ns) {
  if (ns < kFirstOctaveNs) return 0;
  const unsigned octave = static_cast<unsigned>(std::bit_width(ns)) - 1 - kFirstOctaveBits;
  const std::size_t quarter = (ns >> (octave + kFirstOctaveBits - 2)) & 3U;
  return std::min<std::size_t>(1 + std::size_t{octave} * 4 + quarter, kBuckets - 1);
}

std::uint64_t DurationHistogram::bucket_begin_ns(std::size_t bucket) {
  if (bucket == 0) return 0;
  const std::size_t octave = (bucket - 1) / 4;
  const std::size_t quarter = (bucket - 1) % 4;
  return (4 + quarter) << (octave + kFirstOctaveBits - 2);
}

DurationHistogram::DurationHistogram(std::span<const std::uint32_t, kBuckets> counts, std::uint64_t sum_ns,
                                     std::uint64_t max_ns)
    : sum_ns_(sum_ns), max_ns_(max_ns) {
  std::ranges::copy(counts, buckets_.begin());
  for (const std::uint64_t one : buckets_) count_ += one;
}

void DurationHistogram::add(std::uint64_t ns) {
  ++buckets_[bucket_of(ns)];
  ++count_;
  sum_ns_ += ns;
  max_ns_ = std::max(max_ns_, ns);
}

DurationHistogram& DurationHistogram::operator+=(const DurationHistogram& other) {
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) buckets_[bucket] += other.buckets_[bucket];
  count_ += other.count_;
  sum_ns_ += other.sum_ns_;
  max_ns_ = std::max(max_ns_, other.max_ns_);
  return *this;
}

std::uint64_t DurationHistogram::quantile_ns(double share) const {
  if (count_ == 0) return 0;
  const double rank = std::clamp(share, 0.0, 1.0) * static_cast<double>(count_);
  double below = 0;
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    const auto here = static_cast<double>(buckets_[bucket]);
    if (here == 0 || below + here < rank) {
      below += here;
      continue;
    }
    const auto begin = static_cast<double>(bucket_begin_ns(bucket));
    const auto end = bucket + 1 < kBuckets ? static_cast<double>(bucket_begin_ns(bucket + 1)) : begin;
    const double within = begin + (end - begin) * (rank - below) / here;
    return std::min(static_cast<std::uint64_t>(within), std::max(max_ns_, bucket_begin_ns(bucket)));
  }
  return max_ns_;
}

}  // namespace weir
