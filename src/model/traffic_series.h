// The throughput of the latest windows, one by one: what quantiles cannot tell, bursts and their period.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace weir::model {

class TrafficSeries {
 public:
  static constexpr std::size_t kLongest = 240;
  static constexpr std::chrono::seconds kSpan{60};

  void add(std::chrono::nanoseconds length, std::uint64_t bytes);
  /// Times the throughput rose from below its mean to above it; beginning above it counts.
  [[nodiscard]] std::uint32_t bursts() const;
  /// The lag, in seconds, of the first peak of the autocorrelation that is 0.5 at least; nothing when there is none, or
  /// the series is shorter than two periods.
  [[nodiscard]] std::optional<double> period_s() const;

 private:
  struct Sample {
    std::chrono::nanoseconds length{};
    double rate = 0;
  };
  [[nodiscard]] double mean() const;

  std::deque<Sample> samples_;
  std::chrono::nanoseconds span_{};
};

}  // namespace weir::model
