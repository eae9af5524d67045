#include "netns/bench/statistics.h"

#include <algorithm>
#include <random>

namespace weir::netns::bench {

namespace {

double median_in_place(std::vector<double>& values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::ranges::nth_element(values, middle);
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

/// Draws as many as there are, with putting back, and gives their median.
double median_of_draw(std::span<const double> from, std::vector<double>& drawn, std::mt19937_64& random) {
  std::uniform_int_distribution<std::size_t> any(0, from.size() - 1);
  drawn.resize(from.size());
  for (double& one : drawn) one = from[any(random)];
  return median_in_place(drawn);
}

Interval middle_of(const std::vector<double>& estimates, double confidence) {
  const double tail = (1 - confidence) / 2;
  return {quantile(estimates, tail), quantile(estimates, 1 - tail)};
}

}  // namespace

double quantile(std::span<const double> values, double share) {
  if (values.empty()) return 0;
  std::vector<double> sorted(values.begin(), values.end());
  const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(sorted.size()));
  const auto nth = sorted.begin() + std::clamp<std::ptrdiff_t>(at, 0, std::ssize(sorted) - 1);
  std::ranges::nth_element(sorted, nth);
  return *nth;
}

double median(std::span<const double> values) {
  std::vector<double> copy(values.begin(), values.end());
  return median_in_place(copy);
}

Interval median_interval(std::span<const double> values, const Bootstrap& bootstrap) {
  if (values.size() < 2) return {median(values), median(values)};
  std::mt19937_64 random(bootstrap.seed);
  std::vector<double> drawn;
  std::vector<double> estimates;
  estimates.reserve(static_cast<std::size_t>(bootstrap.resamples));
  for (int i = 0; i < bootstrap.resamples; ++i) estimates.push_back(median_of_draw(values, drawn, random));
  return middle_of(estimates, bootstrap.confidence);
}

Ratio ratio_of_medians(std::span<const double> of, std::span<const double> to, const Bootstrap& bootstrap) {
  if (of.empty() || to.empty()) return {};
  const double value = median(of) / median(to);
  if (of.size() < 2 || to.size() < 2) return {value, {value, value}};
  std::mt19937_64 random(bootstrap.seed);
  std::vector<double> drawn;
  std::vector<double> estimates;
  estimates.reserve(static_cast<std::size_t>(bootstrap.resamples));
  for (int i = 0; i < bootstrap.resamples; ++i) {
    const double above = median_of_draw(of, drawn, random);
    estimates.push_back(above / median_of_draw(to, drawn, random));
  }
  return {value, middle_of(estimates, bootstrap.confidence)};
}

Ratio median_of_ratios(std::span<const double> of, std::span<const double> to, const Bootstrap& bootstrap) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(of.size(), to.size()); ++i) ratios.push_back(of[i] / to[i]);
  return {median(ratios), median_interval(ratios, bootstrap)};
}

}  // namespace weir::netns::bench
