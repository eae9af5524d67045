// One case: the window in the order of the past's metrics, the symptom, and where it began.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>

#include "base/text.h"
#include "reason/explain/model.h"

namespace weir::explain {

namespace {

/// Rows by which a given onset may be off.
constexpr std::size_t onset_slack = 5;

/// The statistic that a bare metric name means, of those that there are.
constexpr std::array<std::string_view, 5> preferred_statistics{"", "Average", "mean", "p50", "Sum"};

Result<std::uint32_t> find_symptom(const PastModel& past, const Symptom& symptom) {
  const auto entity = std::ranges::find(past.graph.entities, symptom.entity);
  if (entity == past.graph.entities.end()) {
    return fail(Errc::usage, fmt::format("symptom: no entity '{}'", printable(symptom.entity)),
                suggest(symptom.entity, past.graph.entities));
  }
  const auto index = static_cast<std::size_t>(entity - past.graph.entities.begin());
  std::vector<std::string> names;
  for (const std::uint32_t metric : past.metrics_of[index]) {
    if (past.metrics[metric].name == symptom.metric) return metric;
    names.push_back(past.metrics[metric].name);
  }
  for (const std::string_view statistic : preferred_statistics) {
    for (const std::uint32_t metric : past.metrics_of[index]) {
      if (past.metrics[metric].base == symptom.metric && past.metrics[metric].statistic == statistic) return metric;
    }
  }
  return fail(Errc::usage,
              fmt::format("symptom: {} has no metric '{}'", printable(symptom.entity), printable(symptom.metric)),
              suggest(symptom.metric, names));
}

bool is_metric(const PastModel& past, std::uint32_t metric, const Column& column) {
  const MetricInfo& info = past.metrics[metric];
  return info.base == column.metric && info.statistic == column.statistic &&
         past.graph.entities[info.entity] == column.entity;
}

/// The past's metric of each of the window's columns. Most windows have the columns of the past in its order.
std::vector<std::optional<std::uint32_t>> metrics_of(const PastModel& past, const Table& window) {
  std::vector<std::optional<std::uint32_t>> result(window.columns.size());
  using Name = std::tuple<std::string_view, std::string_view, std::string_view>;
  std::map<Name, std::uint32_t> known;
  for (std::uint32_t i = 0; i < window.columns.size(); ++i) {
    const Column& column = window.columns[i];
    if (i < past.metrics.size() && is_metric(past, i, column)) {
      result[i] = i;
      continue;
    }
    if (known.empty()) {
      for (std::uint32_t metric = 0; metric < past.metrics.size(); ++metric) {
        const MetricInfo& info = past.metrics[metric];
        known.emplace(Name(past.graph.entities[info.entity], info.base, info.statistic), metric);
      }
    }
    const auto found = known.find(Name(column.entity, column.metric, column.statistic));
    if (found != known.end()) result[i] = found->second;
  }
  return result;
}

/// Copies the window's columns into the past's order and says what only one of them has.
void align(Case& result, const Table& window) {
  const PastModel& past = *result.past;
  result.window.assign(past.metrics.size() * result.rows(), missing);
  const auto metrics = metrics_of(past, window);
  std::vector<bool> present(past.metrics.size(), false);
  std::size_t without_past = 0;
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    if (!metrics[i]) {
      ++without_past;
      continue;
    }
    present[*metrics[i]] = true;
    std::ranges::copy(window.columns[i].values,
                      result.window.begin() + static_cast<std::ptrdiff_t>(*metrics[i] * result.rows()));
  }
  const auto absent = std::ranges::count(present, false);
  if (absent > 0) result.notes.push_back(fmt::format("{} metrics of the past are missing in the window", absent));
  if (without_past > 0) {
    result.notes.push_back(fmt::format("{} metrics have no past and were left out", without_past));
  }
}

/// The interval between rows.
double step_of(const std::vector<double>& times_s) {
  std::vector<double> steps;
  for (std::size_t i = 1; i < times_s.size(); ++i) steps.push_back(times_s[i] - times_s[i - 1]);
  if (steps.empty()) return 0;
  std::ranges::nth_element(steps, steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2));
  return steps[steps.size() / 2];
}

/// The row from which on the symptom is out most: the largest sum of what is out further than halfway, to the window's
/// end. A given time is refined within a few rows: clocks and alarms are late.
std::size_t find_onset(const Case& result, const std::optional<double>& since_s) {
  const std::size_t rows = result.rows();
  std::size_t first = 0;
  std::size_t last = rows;
  std::size_t given = 0;
  if (since_s) {
    const double step = step_of(result.times_s);
    while (given + 1 < rows && result.times_s[given] + step <= *since_s) ++given;
    first = given > onset_slack ? given - onset_slack : 0;
    last = std::min(rows, given + onset_slack + 1);
  }
  // Halfway between as usual and as it is at its worst.
  constexpr double most = 6;
  double worst = 0;
  for (std::size_t row = first; row < rows; ++row) {
    const float z = result.z(result.symptom, row);
    if (!std::isnan(z)) worst = std::max(worst, std::min(most, static_cast<double>(z)));
  }
  const double halfway = std::max(1.0, worst / 2);
  std::size_t best_row = given;
  double best = 0;
  double sum = 0;
  for (std::size_t row = rows; row-- > first;) {
    const float z = result.z(result.symptom, row);
    if (!std::isnan(z)) sum += std::clamp(static_cast<double>(z), -most, most) - halfway;
    if (row < last && sum > best) {
      best = sum;
      best_row = row;
    }
  }
  return best_row;
}

/// Which way a symptom moved that may be bad either way: where its largest deviation is.
Bad way_of(const Case& result) {
  const Bad known = bad_direction(result.past->metrics[result.symptom].quantity);
  if (known != Bad::either) return known;
  const auto& usual = result.past->baselines[result.symptom];
  double sum = 0;
  for (const float value : result.series(result.symptom)) {
    const double z = (value - usual.centre) / usual.scale;
    if (std::isfinite(z) && std::abs(z) > 2) sum += z;
  }
  return sum < 0 ? Bad::down : Bad::up;
}

}  // namespace

float Case::z(std::uint32_t metric, std::size_t row) const {
  const Baseline& usual = past->baselines[metric];
  const float value = series(metric)[row];
  if (usual.values == 0) return missing;
  const float z_up = (value - usual.centre) / usual.scale;
  const Bad bad = metric == symptom ? way : bad_direction(past->metrics[metric].quantity);
  return bad == Bad::down ? -z_up : z_up;
}

Result<Case> make_case(const PastModel& past, const Table& window, const Symptom& symptom, bool undirected) {
  if (window.times_s.empty()) return fail(Errc::usage, "the window to explain has no rows");
  const auto metric = find_symptom(past, symptom);
  if (!metric) return std::unexpected(metric.error());
  Case result{.past = &past, .times_s = window.times_s, .symptom = *metric, .undirected = undirected};
  align(result, window);
  const auto values = result.series(*metric);
  if (std::ranges::none_of(values, [](float value) { return std::isfinite(value); })) {
    return fail(Errc::usage, fmt::format("symptom: {} {} has no value in the window", printable(symptom.entity),
                                         past.metrics[*metric].name));
  }
  if (past.baselines[*metric].values == 0) {
    return fail(Errc::usage, fmt::format("symptom: {} {} has no value in the healthy past", printable(symptom.entity),
                                         past.metrics[*metric].name));
  }
  if (symptom.since_s && (*symptom.since_s > window.times_s.back())) {
    return fail(Errc::usage, "the symptom would begin after the last row of the window");
  }
  locate_symptom(result, symptom.since_s);
  return result;
}

void locate_symptom(Case& incident, const std::optional<double>& since_s) {
  incident.way = way_of(incident);
  incident.onset = find_onset(incident, since_s);
}

}  // namespace weir::explain
