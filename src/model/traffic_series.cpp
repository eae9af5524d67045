#include "model/traffic_series.h"

#include <vector>

namespace weir::model {

namespace {

constexpr double kPeriodicCorrelation = 0.5;

}  // namespace

void TrafficSeries::add(std::chrono::nanoseconds length, std::uint64_t bytes) {
  if (length <= std::chrono::nanoseconds::zero()) return;
  samples_.push_back({length, static_cast<double>(bytes) / std::chrono::duration<double>(length).count()});
  span_ += length;
  while (samples_.size() > 1 && (samples_.size() > kLongest || span_ > kSpan)) {
    span_ -= samples_.front().length;
    samples_.pop_front();
  }
}

double TrafficSeries::mean() const {
  double sum = 0;
  for (const Sample& sample : samples_) sum += sample.rate;
  return samples_.empty() ? 0 : sum / static_cast<double>(samples_.size());
}

std::uint32_t TrafficSeries::bursts() const {
  const double level = mean();
  std::uint32_t rises = 0;
  bool above = false;
  for (const Sample& sample : samples_) {
    const bool now_above = sample.rate > level;
    if (now_above && !above) ++rises;
    above = now_above;
  }
  return rises;
}

std::optional<double> TrafficSeries::period_s() const {
  const double level = mean();
  double power = 0;
  for (const Sample& sample : samples_) power += (sample.rate - level) * (sample.rate - level);
  if (power <= 0) return std::nullopt;
  // As a share of what a lag without any change would give, however few pairs it has left.
  const std::size_t lags = samples_.size() / 2;
  const auto n = static_cast<double>(samples_.size());
  std::vector<double> correlation(lags + 1, 1);
  for (std::size_t lag = 1; lag <= lags; ++lag) {
    double sum = 0;
    for (std::size_t i = lag; i < samples_.size(); ++i) {
      sum += (samples_[i].rate - level) * (samples_[i - lag].rate - level);
    }
    correlation[lag] = sum / power * n / (n - static_cast<double>(lag));
  }
  for (std::size_t lag = 2; lag + 1 <= lags; ++lag) {
    const bool peak = correlation[lag] >= correlation[lag - 1] && correlation[lag] > correlation[lag + 1];
    if (peak && correlation[lag] >= kPeriodicCorrelation) {
      return static_cast<double>(lag) * std::chrono::duration<double>(span_).count() / n;
    }
  }
  return std::nullopt;
}

}  // namespace weir::model
