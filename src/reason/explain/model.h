// What the engines of `explain` share: the learnt past, and one case to be explained against it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "weir/explain.h"

namespace weir::explain {

/// Which way a metric moves when things get worse.
enum class Bad : std::int8_t { down = -1, either = 0, up = 1 };
Bad bad_direction(Quantity quantity);

struct MetricInfo {
  std::uint32_t entity = 0;
  std::string name;  ///< as a symptom names it: "latency/Average"
  std::string base;  ///< without the statistic: "latency"
  std::string statistic;
  Quantity quantity = Quantity::other;
};

/// What is usual for a series. The scale is robust and never 0: the largest of 1.48 times the median absolute
/// deviation, (p95 - p5) / 3.3, a share of the level and a floor that depends on the quantity.
struct Baseline {
  float centre = 0;          ///< median
  float scale = 1;           ///< of one standard deviation, were it normal
  float low = 0;             ///< 2nd percentile
  float high = 0;            ///< 98th percentile
  std::uint32_t values = 0;  ///< that were not missing
  /// Too few values to judge by.
  [[nodiscard]] bool weak() const { return values < 10; }
};
/// Mean of what was measured; nothing when that is nothing.
std::optional<double> mean_of(std::span<const float> values);
Baseline baseline_of(std::span<const float> series, Quantity quantity);

struct EngineCache;

struct Past::Model {
  Graph graph;
  std::vector<std::vector<std::uint32_t>> callees;  ///< by entity; each once
  std::vector<std::vector<std::uint32_t>> callers;
  std::vector<MetricInfo> metrics;
  std::vector<std::vector<std::uint32_t>> metrics_of;  ///< by entity
  std::vector<Baseline> baselines;                     ///< by metric
  std::vector<double> times_s;
  std::vector<float> healthy;  ///< metric by metric, a row after the other
  std::vector<std::string> notes;
  std::shared_ptr<EngineCache> engines;  ///< what engines have worked out of it; locked within

  [[nodiscard]] std::size_t rows() const { return times_s.size(); }
  [[nodiscard]] std::span<const float> series(std::uint32_t metric) const {
    return {healthy.data() + static_cast<std::size_t>(metric) * rows(), rows()};
  }
};
using PastModel = Past::Model;

/// A window that is to be explained, its columns in the order of the past's metrics.
struct Case {
  const PastModel* past = nullptr;
  std::vector<double> times_s{};
  std::vector<float> window{};  ///< metric by metric; `missing` where the window lacks the column
  std::uint32_t symptom = 0;    ///< metric
  std::size_t onset = 0;        ///< first row of the symptom; it lasts to the end of the window
  Bad way = Bad::up;            ///< which way the symptom moved
  bool undirected = false;
  std::vector<std::string> notes{};
  std::vector<float> offsets{};  ///< by metric: what was taken out of its values since the onset; empty: nothing

  [[nodiscard]] std::size_t rows() const { return times_s.size(); }
  [[nodiscard]] std::span<const float> series(std::uint32_t metric) const {
    return {window.data() + static_cast<std::size_t>(metric) * rows(), rows()};
  }
  /// Of a metric since the onset.
  [[nodiscard]] std::optional<double> mean(std::uint32_t metric) const {
    return mean_of(series(metric).subspan(onset));
  }
  [[nodiscard]] std::uint32_t symptom_entity() const { return past->metrics[symptom].entity; }
  /// Deviation from the baseline in scales at a row, positive when it is the bad way (either: as it is); NaN if
  /// missing.
  [[nodiscard]] float z(std::uint32_t metric, std::size_t row) const;
};

/// Errc::usage, with the nearest names, for a symptom that is not there.
Result<Case> make_case(const PastModel& past, const Table& window, const Symptom& symptom, bool undirected);

/// Finds again which way the symptom moved and from which row on; the given time may be off by a few rows.
void locate_symptom(Case& incident, const std::optional<double>& since_s);

/// An entity with how much an engine suspects it; engines give them in descending order.
struct Suspect {
  std::uint32_t entity = 0;
  double score = 0;
};
using Suspects = std::vector<Suspect>;

}  // namespace weir::explain
