// What is usual for a series. A past of 100,000 metrics has as many of these to work out, so each sorts its values
// once, by digits, and reads all that it needs off the sorted ones.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "reason/explain/model.h"

namespace weir::explain {

namespace {

/// Share of the level below which nobody would call a change one, and the smallest step that means something.
struct Floor {
  double share;
  double least;
};
Floor floor_of(Quantity quantity) {
  switch (quantity) {
    case Quantity::latency:
      return {0.02, 1e-9};
    case Quantity::availability:
    case Quantity::utilisation:
      return {0.02, 1e-6};
    case Quantity::requests:
    case Quantity::failures:
    case Quantity::drops:
      return {0.02, 1};
    default:
      return {1e-6, 1e-9};
  }
}

/// Orders as the floats do.
std::uint32_t key_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
float value_of(std::uint32_t key) {
  return std::bit_cast<float>((key & 0x80000000U) != 0 ? key & 0x7fffffffU : ~key);
}

/// The finite values in ascending order; least significant digits first.
std::vector<float> sorted_values(std::span<const float> series) {
  constexpr std::size_t digits = 4;
  constexpr std::size_t bits = 8;
  std::array<std::array<std::uint32_t, 1U << bits>, digits> places{};
  std::vector<std::uint32_t> keys;
  keys.reserve(series.size());
  for (const float value : series) {
    if (!std::isfinite(value)) continue;
    const std::uint32_t key = key_of(value);
    keys.push_back(key);
    for (std::size_t digit = 0; digit < digits; ++digit) ++places[digit][(key >> (digit * bits)) & 0xffU];
  }
  std::vector<std::uint32_t> moved(keys.size());
  for (std::size_t digit = 0; digit < digits; ++digit) {
    std::uint32_t before = 0;
    for (std::uint32_t& place : places[digit]) before += std::exchange(place, before);
    for (const std::uint32_t key : keys) moved[places[digit][(key >> (digit * bits)) & 0xffU]++] = key;
    keys.swap(moved);
  }
  std::vector<float> values(keys.size());
  std::ranges::transform(keys, values.begin(), value_of);
  return values;
}

float quantile_of(const std::vector<float>& sorted, double share) {
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

/// The median distance from `centre`: that many values are nearer, which are together in the sorted ones.
float median_distance(const std::vector<float>& sorted, float centre) {
  auto above = static_cast<std::size_t>(std::ranges::lower_bound(sorted, centre) - sorted.begin());
  std::size_t below = above;  // one after the next one below
  float distance = 0;
  for (std::size_t taken = 0; taken <= sorted.size() / 2; ++taken) {
    const bool is_up = below == 0 || (above < sorted.size() && sorted[above] - centre <= centre - sorted[below - 1]);
    distance = is_up ? sorted[above++] - centre : centre - sorted[--below];
  }
  return distance;
}

}  // namespace

std::optional<double> mean_of(std::span<const float> values) {
  double sum = 0;
  std::size_t count = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    sum += value;
    ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / static_cast<double>(count);
}

Baseline baseline_of(std::span<const float> series, Quantity quantity) {
  const std::vector<float> sorted = sorted_values(series);
  Baseline result;
  result.values = static_cast<std::uint32_t>(sorted.size());
  if (sorted.empty()) return result;
  result.centre = quantile_of(sorted, 0.5);
  result.low = quantile_of(sorted, 0.02);
  result.high = quantile_of(sorted, 0.98);
  const double spread = (quantile_of(sorted, 0.95) - quantile_of(sorted, 0.05)) / 3.3;
  const double mad = 1.48 * median_distance(sorted, result.centre);
  const Floor floor = floor_of(quantity);
  result.scale = static_cast<float>(std::max({mad, spread, floor.share * std::abs(result.centre), floor.least}));
  return result;
}

}  // namespace weir::explain
