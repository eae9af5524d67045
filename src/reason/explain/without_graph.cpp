#include "reason/explain/without_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/text.h"
#include "reason/explain/csv.h"
#include "reason/explain/model.h"
#include "reason/explain/null_tail.h"

namespace weir::explain {

namespace {

namespace fs = std::filesystem;

constexpr double moved_scales = 3;
/// Logarithms of how far out something is stop mattering there: a metric that never moved before is not the cause only
/// because its scale is tiny.
constexpr double most_evidence = 3;
/// What moved when others had moved already counts for so much.
constexpr double late = 0.6;

/// How much a change of a metric speaks for its own service rather than for what it serves or asks.
double weight_of(Quantity quantity) {
  switch (quantity) {
    case Quantity::utilisation:
      return 1.0;
    case Quantity::drops:
      return 0.9;
    case Quantity::other:
      return 0.6;
    case Quantity::latency:
      return 0.7;
    case Quantity::failures:
    case Quantity::availability:
      return 0.6;
    case Quantity::requests:
      return 0.3;
  }
  return 0.5;
}

struct Evidence {
  double amount = 0;
  std::size_t first_out = 0;  ///< row, counted from the window's first
  bool out = false;
};

/// The window's rows against a baseline: how far their median is out, and since when.
Evidence evidence_of(std::span<const float> window, const Baseline& usual, Quantity quantity) {
  Evidence result;
  if (usual.weak()) return result;
  std::vector<float> deviations;
  std::size_t in_a_row = 0;
  for (std::size_t row = 0; row < window.size(); ++row) {
    if (!std::isfinite(window[row])) continue;
    const float z = (window[row] - usual.centre) / usual.scale;
    deviations.push_back(z);
    in_a_row = std::abs(z) > moved_scales ? in_a_row + 1 : 0;
    if (!result.out && in_a_row == 2) {
      result.out = true;
      result.first_out = row - 1;
    }
  }
  if (deviations.empty()) return result;
  const auto middle = deviations.begin() + static_cast<std::ptrdiff_t>(deviations.size() / 2);
  std::ranges::nth_element(deviations, middle);
  const double by = std::abs(*middle);
  result.amount = weight_of(quantity) * std::min(most_evidence, std::log(std::max(1.0, by / moved_scales)));
  return result;
}

struct Series {
  const Column* column;
  Quantity quantity;
  Baseline usual;
};

/// Services of a window by what speaks for them; metrics too when asked for.
std::vector<RankedMetric> rank_window(const std::vector<Series>& all, std::size_t first, std::size_t last,
                                      std::vector<RankedMetric>* metrics) {
  std::vector<Evidence> found;
  std::size_t earliest = last - first;
  for (const Series& series : all) {
    const std::span<const float> values(series.column->values);
    found.push_back(evidence_of(values.subspan(first, last - first), series.usual, series.quantity));
    if (found.back().out) earliest = std::min(earliest, found.back().first_out);
  }
  std::map<std::string_view, std::vector<double>> services;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t slack = std::max<std::size_t>(2, (last - first) / 50);
    const double amount = found[i].amount * (found[i].out && found[i].first_out <= earliest + slack ? 1 : late);
    services[all[i].column->entity].push_back(amount);
    if (metrics != nullptr && amount > 0) metrics->push_back({all[i].column->entity, all[i].column->metric, amount});
  }
  std::vector<RankedMetric> result;
  for (auto& [service, amounts] : services) {
    // The best counts, the second half, the third a quarter: many metrics that say the same are one observation.
    std::ranges::sort(amounts, std::greater<>());
    double score = 0;
    for (std::size_t i = 0; i < std::min<std::size_t>(3, amounts.size()); ++i) {
      score += amounts[i] / static_cast<double>(1U << i);
    }
    result.push_back({std::string(service), "", score});
  }
  std::ranges::stable_sort(result, std::greater<>(), &RankedMetric::score);
  if (metrics != nullptr) std::ranges::stable_sort(*metrics, std::greater<>(), &RankedMetric::score);
  return result;
}

}  // namespace

Result<GraphlessRanking> rank_without_graph(const Table& table, double injected_s) {
  const auto split =
      static_cast<std::size_t>(std::ranges::lower_bound(table.times_s, injected_s) - table.times_s.begin());
  const std::size_t rows = table.times_s.size();
  constexpr std::size_t least_past = 10;
  if (split < least_past) return fail(Errc::usage, fmt::format("only {} rows before the injection", split));
  if (split == rows) return fail(Errc::usage, "no rows after the injection");
  std::vector<Series> all;
  for (const Column& column : table.columns) {
    const Quantity quantity = quantity_of(column.metric);
    all.push_back({&column, quantity, baseline_of(std::span(column.values).first(split), quantity)});
  }
  GraphlessRanking result;
  result.services = rank_window(all, split, rows, &result.metrics);
  const std::size_t length = std::min(rows - split, split / 2);
  std::vector<double> healthy;
  constexpr std::size_t most_windows = 50;
  const std::size_t step = std::max<std::size_t>(1, (split - length) / most_windows);
  for (std::size_t first = 0; first + length <= split; first += step) {
    const auto ranked = rank_window(all, first, first + length, nullptr);
    healthy.push_back(ranked.empty() ? 0 : ranked.front().score);
  }
  if (!result.services.empty()) {
    result.p_value = NullTail(std::move(healthy)).p_value(result.services.front().score);
  }
  return result;
}

namespace {

/// The table of a case's folder.
std::optional<fs::path> table_of(const fs::path& folder) {
  for (const char* name : {"data.csv", "simple_data.csv", "metrics.csv", "simple_metrics.csv"}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  std::optional<fs::path> only;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".csv") continue;
    if (only) return std::nullopt;
    only = entry.path();
  }
  return only;
}

Result<double> read_time(const fs::path& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  const auto time = parse_cell(word);
  if (!time || !std::isfinite(*time)) {
    return fail(Errc::usage, fmt::format("{}: '{}' is not a time in seconds", path.string(), printable(word)));
  }
  return *time;
}

/// The service that a folder on the way is named after: "cartservice_cpu/1" → "cartservice".
std::optional<std::string> truth_of(const fs::path& relative, const GraphlessRanking& ranking) {
  for (const fs::path& part : relative) {
    const std::string name = part.string();
    const auto mark = name.rfind('_');
    if (mark == std::string::npos) continue;
    std::string service = name.substr(0, mark);
    if (std::ranges::find(ranking.services, service, &RankedMetric::entity) != ranking.services.end()) return service;
  }
  return std::nullopt;
}

Result<ExplainedCase> explain_folder(const fs::path& root, const fs::path& folder) {
  const auto path = table_of(folder);
  if (!path) return fail(Errc::usage, folder.string() + ": inject_time.txt without a table (data.csv)");
  const auto injected = read_time(folder / "inject_time.txt");
  if (!injected) return std::unexpected(injected.error());
  auto table = read_table(path->string());
  if (!table) return pass(std::move(table));
  const auto began = std::chrono::steady_clock::now();
  const auto ranking = rank_without_graph(*table, *injected);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  if (!ranking) return std::unexpected(Error(ranking.error()).with_context(path->string()));
  const fs::path relative = fs::relative(folder, root);
  ExplainedCase result{.scenario = relative.has_parent_path() ? relative.begin()->string() : std::string("."),
                       .name = relative.string(),
                       .symptom = "",
                       .engine = Engine::combined,
                       .causes = {},
                       .p_value = ranking->p_value,
                       .seconds = took.count(),
                       .truth = truth_of(relative, *ranking),
                       .notes = {},
                       .metrics = {}};
  for (const RankedMetric& service : ranking->services) {
    if (service.score > 0) result.causes.push_back(service.entity);
  }
  constexpr std::size_t most_metrics = 10;
  for (const RankedMetric& metric : ranking->metrics) {
    if (result.metrics.size() < most_metrics) result.metrics.push_back(metric.entity + ":" + metric.metric);
  }
  return result;
}

}  // namespace

Result<void> explain_rcaeval(const std::string& folder, const std::function<void(const ExplainedCase&)>& take) {
  std::vector<fs::path> cases;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    if (entry.path().filename() == "inject_time.txt") cases.push_back(entry.path().parent_path());
  }
  if (error) return std::unexpected(errno_error(error.value(), folder));
  if (cases.empty()) {
    return fail(Errc::usage, folder + ": no inject_time.txt in it or below",
                "expected a folder a case, with data.csv (time, SERVICE_METRIC, ...) and inject_time.txt");
  }
  std::ranges::sort(cases);
  for (const fs::path& path : cases) {
    auto explained = explain_folder(folder, path);
    if (!explained) return pass(std::move(explained));
    take(*explained);
  }
  return {};
}

}  // namespace weir::explain
