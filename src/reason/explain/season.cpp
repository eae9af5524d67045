#include "reason/explain/season.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numbers>

namespace weir::explain {

namespace {

constexpr std::size_t shortest_rows = 8;
constexpr std::size_t most_looked_at = 64;
/// Autocorrelation, averaged over metrics, of a period that is believed; noise has some 0.05.
constexpr double least_likeness = 0.12;
/// Share of its variance that a metric's waves must tell.
constexpr double least_told = 0.1;

/// Autocorrelation of a series at every lag up to half its length; a missing value is the mean.
std::vector<double> autocorrelation(std::span<const float> series) {
  std::vector<float> values(series.begin(), series.end());
  const double mean = mean_of(series).value_or(0);
  double squares = 0;
  for (float& value : values) {
    value = std::isfinite(value) ? static_cast<float>(value - mean) : 0;
    squares += static_cast<double>(value) * value;
  }
  std::vector<double> result(values.size() / 2 + 1, 0);
  if (squares <= 0) return result;
  for (std::size_t lag = 0; lag < result.size(); ++lag) {
    double product = 0;
    for (std::size_t row = lag; row < values.size(); ++row) product += values[row] * values[row - lag];
    // Fewer pairs at long lags must not make them look unlike.
    result[lag] = product / squares * static_cast<double>(values.size()) / static_cast<double>(values.size() - lag);
  }
  return result;
}

std::vector<double> mean_autocorrelation(const PastModel& past) {
  std::vector<double> mean(past.rows() / 2 + 1, 0);
  const std::size_t step = std::max<std::size_t>(1, past.metrics.size() / most_looked_at);
  std::size_t count = 0;
  for (std::uint32_t metric = 0; metric < past.metrics.size(); metric += static_cast<std::uint32_t>(step)) {
    const auto one = autocorrelation(past.series(metric));
    for (std::size_t lag = 0; lag < mean.size(); ++lag) mean[lag] += one[lag];
    ++count;
  }
  for (double& value : mean) value /= static_cast<double>(std::max<std::size_t>(1, count));
  return mean;
}

using Waves = Eigen::Matrix<double, 1, 2 * Season::waves>;
Waves waves_at(double time_s, double period_s) {
  Waves waves;
  for (std::size_t wave = 0; wave < Season::waves; ++wave) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(wave + 1) * time_s / period_s;
    waves(static_cast<Eigen::Index>(2 * wave)) = std::sin(angle);
    waves(static_cast<Eigen::Index>(2 * wave + 1)) = std::cos(angle);
  }
  return waves;
}

/// Least squares over the rows that were measured; nothing where the waves tell too little.
std::array<float, 2 * Season::waves> fit(std::span<const float> series, const std::vector<double>& times_s,
                                         double period_s) {
  constexpr auto size = 2 * Season::waves + 1;
  Eigen::Matrix<double, size, size> gram = Eigen::Matrix<double, size, size>::Zero();
  Eigen::Matrix<double, size, 1> with_target = Eigen::Matrix<double, size, 1>::Zero();
  double sum = 0;
  double squares = 0;
  double count = 0;
  for (std::size_t row = 0; row < series.size(); ++row) {
    if (!std::isfinite(series[row])) continue;
    Eigen::Matrix<double, 1, size> line;
    line << 1, waves_at(times_s[row], period_s);
    gram += line.transpose() * line;
    with_target += line.transpose() * series[row];
    sum += series[row];
    squares += static_cast<double>(series[row]) * series[row];
    ++count;
  }
  std::array<float, 2 * Season::waves> result{};
  if (count < 4 * size) return result;
  const Eigen::Matrix<double, size, 1> found = gram.ldlt().solve(with_target);
  const double whole = squares - sum * sum / count;
  const double left = squares - found.dot(with_target);
  if (!(whole > 0) || !(1 - left / whole > least_told)) return result;
  for (std::size_t i = 0; i < result.size(); ++i) {
    result.at(i) = static_cast<float>(found(static_cast<Eigen::Index>(i + 1)));
  }
  return result;
}

}  // namespace

double Season::at(std::uint32_t metric, double time_s) const {
  const auto& own = factors[metric];
  const Waves now = waves_at(time_s, period_s);
  double sum = 0;
  for (std::size_t i = 0; i < own.size(); ++i) sum += own.at(i) * now(static_cast<Eigen::Index>(i));
  return sum;
}

std::optional<Season> find_season(const PastModel& past) {
  if (past.rows() < 4 * shortest_rows || past.metrics.empty()) return std::nullopt;
  const auto likeness = mean_autocorrelation(past);
  // Behind the first valley, or slow noise would look like a period.
  std::size_t lag = 1;
  while (lag + 1 < likeness.size() && likeness[lag + 1] < likeness[lag]) ++lag;
  std::size_t best = 0;
  for (lag = std::max(lag, shortest_rows); lag + 1 < likeness.size(); ++lag) {
    const bool peak = likeness[lag] >= likeness[lag - 1] && likeness[lag] >= likeness[lag + 1];
    if (peak && likeness[lag] > least_likeness && (best == 0 || likeness[lag] > likeness[best])) best = lag;
  }
  if (best == 0) return std::nullopt;
  const double step = (past.times_s.back() - past.times_s.front()) / static_cast<double>(past.rows() - 1);
  Season season{.period_s = static_cast<double>(best) * step, .factors = {}};
  season.factors.reserve(past.metrics.size());
  for (std::uint32_t metric = 0; metric < past.metrics.size(); ++metric) {
    season.factors.push_back(fit(past.series(metric), past.times_s, season.period_s));
  }
  return season;
}

PastModel without_season(const PastModel& past, const Season& season) {
  PastModel result = past;
  // The cache owns what is made here: it must not be owned by it in turn.
  result.engines.reset();
  for (std::uint32_t metric = 0; metric < past.metrics.size(); ++metric) {
    const auto& own = season.factors[metric];
    if (std::ranges::all_of(own, [](float factor) { return factor == 0; })) continue;
    float* const values = result.healthy.data() + static_cast<std::size_t>(metric) * past.rows();
    for (std::size_t row = 0; row < past.rows(); ++row) {
      values[row] -= static_cast<float>(season.at(metric, past.times_s[row]));
    }
    result.baselines[metric] = baseline_of(result.series(metric), past.metrics[metric].quantity);
  }
  return result;
}

void remove_season(Case& incident, const PastModel& past, const Season& season, const std::optional<double>& since_s) {
  const std::size_t rows = incident.rows();
  incident.past = &past;
  for (std::uint32_t metric = 0; metric < past.metrics.size(); ++metric) {
    float* const values = incident.window.data() + static_cast<std::size_t>(metric) * rows;
    for (std::size_t row = 0; row < rows; ++row) {
      values[row] -= static_cast<float>(season.at(metric, incident.times_s[row]));
    }
  }
  locate_symptom(incident, since_s);
  incident.offsets.assign(past.metrics.size(), 0);
  for (std::uint32_t metric = 0; metric < past.metrics.size(); ++metric) {
    double sum = 0;
    for (std::size_t row = incident.onset; row < rows; ++row) sum += season.at(metric, incident.times_s[row]);
    incident.offsets[metric] = static_cast<float>(sum / static_cast<double>(rows - incident.onset));
  }
}

}  // namespace weir::explain
