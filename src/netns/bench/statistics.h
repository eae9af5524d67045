// What rounds of a measurement say: medians, how sure they are, and whether one is worse than another. Pure: the same
// samples and seed always give the same answer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace weir::netns::bench {

/// The value below which `share` (0 to 1) of the values lie, the nearest one that occurs; 0 of none.
double quantile(std::span<const double> values, double share);

/// The middle value, the mean of the two middle ones of an even number; 0 of none.
double median(std::span<const double> values);

struct Interval {
  double low = 0;
  double high = 0;
};

/// How the bootstrap (Efron 1979, percentile method) draws.
struct Bootstrap {
  std::uint64_t seed = 1;
  int resamples = 2000;
  double confidence = 0.95;
};

/// Where the median of what the values were drawn from lies. The point itself for fewer than two values.
Interval median_interval(std::span<const double> values, const Bootstrap& bootstrap = {});

/// A quotient and where it lies.
struct Ratio {
  double value = 0;
  Interval interval;
};

/// median(of) / median(to), of two samples that need not be paired. `to` is positive.
Ratio ratio_of_medians(std::span<const double> of, std::span<const double> to, const Bootstrap& bootstrap = {});

/// The median of of[i] / to[i]: for samples of the same rounds, so that what disturbs a round meets both.
Ratio median_of_ratios(std::span<const double> of, std::span<const double> to, const Bootstrap& bootstrap = {});

}  // namespace weir::netns::bench
