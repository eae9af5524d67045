// Tables of metrics from CSV: wide with one to three header lines, or long with a line a value.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <unordered_map>

#include "base/text.h"
#include "reason/explain/csv.h"
#include "weir/explain.h"

namespace weir::explain {

namespace {

using Words = std::vector<std::string>;

std::string lower_case(std::string_view word) {
  std::string result(trim(word));
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

bool is_time_word(std::string_view word) {
  const std::string name = lower_case(word);
  return name == "time" || name == "timestamp" || name == "unix_timestamp" || name == "ts" || name == "time_s" ||
         name == "date" || name.empty();
}

/// Splits the heading of a wide column into entity and metric: the longest entity of the graph that it begins with,
/// else before the last of the separators.
std::pair<std::string, std::string> split_heading(const std::string& heading, const Graph* graph) {
  constexpr std::string_view separators = ":/_.|";
  if (graph != nullptr) {
    const std::string* best = nullptr;
    for (const std::string& entity : graph->entities) {
      const bool fits = heading.size() > entity.size() + 1 && heading.starts_with(entity) &&
                        separators.find(heading[entity.size()]) != std::string_view::npos;
      if (fits && (best == nullptr || entity.size() > best->size())) best = &entity;
    }
    if (best != nullptr) return {*best, heading.substr(best->size() + 1)};
  }
  for (const char separator : separators) {
    const auto at = heading.rfind(separator);
    if (at != std::string::npos && at > 0 && at + 1 < heading.size()) {
      return {heading.substr(0, at), heading.substr(at + 1)};
    }
  }
  return {heading, "value"};
}

/// "latency-50", "latency/p99" and the like: what follows the slash is the statistic.
void split_statistic(Column& column) {
  const auto at = column.metric.rfind('/');
  if (at == std::string::npos || at == 0 || at + 1 == column.metric.size()) return;
  column.statistic = column.metric.substr(at + 1);
  column.metric.resize(at);
}

struct Heading {
  std::vector<Words> lines;
  std::size_t time_column = 0;
};

std::vector<Column> wide_columns(const Heading& heading, const Graph* graph) {
  std::vector<Column> columns;
  for (std::size_t i = 0; i < heading.lines[0].size(); ++i) {
    if (i == heading.time_column) continue;
    Column column;
    if (heading.lines.size() == 1) {
      std::tie(column.entity, column.metric) = split_heading(heading.lines[0][i], graph);
      split_statistic(column);
    } else {
      column.entity = heading.lines[0][i];
      column.metric = heading.lines[1][i];
      if (heading.lines.size() > 2) column.statistic = heading.lines[2][i];
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

/// Rows in the order of time; of equal times the last stays.
void sort_rows(Table& table) {
  std::vector<std::size_t> order(table.times_s.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](std::size_t row) { return table.times_s[row]; });
  std::vector<std::size_t> kept;
  for (const std::size_t row : order) {
    if (!kept.empty() && table.times_s[kept.back()] == table.times_s[row]) kept.pop_back();
    kept.push_back(row);
  }
  bool in_order = kept.size() == order.size();
  for (std::size_t i = 0; in_order && i < kept.size(); ++i) in_order = kept[i] == i;
  if (in_order) return;
  const auto pick = [&](auto& values) {
    auto old = values;
    values.resize(kept.size());
    for (std::size_t i = 0; i < kept.size(); ++i) values[i] = old[kept[i]];
  };
  pick(table.times_s);
  for (Column& column : table.columns) pick(column.values);
}

/// Whether a line under the first is still heading: no cell of it is a number.
bool is_heading(const Words& cells) {
  return std::ranges::none_of(cells, [](const std::string& cell) {
    const auto number = parse_cell(cell);
    return number && !std::isnan(*number);
  });
}

Result<Table> read_wide(CsvReader& csv, Words first, const Graph* graph) {
  Heading heading;
  const auto time_word =
      std::ranges::find_if(first, [](const std::string& word) { return !word.empty() && is_time_word(word); });
  heading.time_column = time_word == first.end() ? 0 : static_cast<std::size_t>(time_word - first.begin());
  heading.lines.push_back(std::move(first));
  Table table;
  while (true) {
    const auto more = csv.next();
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    const Words& cells = csv.cells();
    if (table.columns.empty() && is_heading(cells)) {
      // A line that only names the time column says nothing more.
      const bool bare = std::ranges::count_if(cells, [](const std::string& cell) { return !cell.empty(); }) <= 1;
      if (!bare && cells.size() != heading.lines[0].size()) {
        return csv.refuse(fmt::format("{} cells, the heading has {}", cells.size(), heading.lines[0].size()));
      }
      if (!bare) heading.lines.push_back(cells);
      if (heading.lines.size() > 3) return csv.refuse("expected numbers after three lines of heading");
      continue;
    }
    if (table.columns.empty()) table.columns = wide_columns(heading, graph);
    if (cells.size() != heading.lines[0].size()) {
      return csv.refuse(fmt::format("{} cells, the heading has {}", cells.size(), heading.lines[0].size()));
    }
    const auto time = parse_cell(cells[heading.time_column]);
    if (!time || std::isnan(*time)) {
      return csv.refuse(fmt::format("'{}' is not a time in seconds", printable(cells[heading.time_column])));
    }
    table.times_s.push_back(*time);
    std::size_t column = 0;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i == heading.time_column) continue;
      const auto value = parse_cell(cells[i]);
      if (!value) return csv.refuse(fmt::format("'{}' is not a number", printable(cells[i])));
      table.columns[column++].values.push_back(static_cast<float>(*value));
    }
  }
  if (table.times_s.empty()) return csv.refuse("there are no rows");
  return table;
}

/// Where the columns of a long table stand; nothing when it is not one.
struct LongHeading {
  std::size_t time, entity, metric, value;
};
std::optional<LongHeading> long_heading(const Words& first) {
  if (first.size() < 4 || first.size() > 5) return std::nullopt;
  const auto find = [&](std::initializer_list<std::string_view> names) {
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (std::ranges::find(names, lower_case(first[i])) != names.end()) return std::optional(i);
    }
    return std::optional<std::size_t>();
  };
  const auto time = find({"time", "timestamp", "ts", "time_s", "unix_timestamp"});
  const auto entity = find({"entity", "node", "service", "microservice", "instance"});
  const auto metric = find({"metric", "name", "metric_name"});
  const auto value = find({"value"});
  if (!time || !entity || !metric || !value) return std::nullopt;
  return LongHeading{*time, *entity, *metric, *value};
}

Result<Table> read_long(CsvReader& csv, const LongHeading& heading, std::size_t width) {
  std::map<double, std::uint32_t> rows;
  std::map<std::pair<std::string, std::string>, std::vector<std::pair<double, float>>> columns;
  while (true) {
    const auto more = csv.next();
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    const Words& cells = csv.cells();
    if (cells.size() != width) return csv.refuse(fmt::format("{} cells, the heading has {}", cells.size(), width));
    const auto time = parse_cell(cells[heading.time]);
    if (!time || std::isnan(*time)) {
      return csv.refuse(fmt::format("'{}' is not a time in seconds", printable(cells[heading.time])));
    }
    const auto value = parse_cell(cells[heading.value]);
    if (!value) return csv.refuse(fmt::format("'{}' is not a number", printable(cells[heading.value])));
    rows[*time];
    columns[{cells[heading.entity], cells[heading.metric]}].emplace_back(*time, static_cast<float>(*value));
  }
  if (rows.empty()) return csv.refuse("there are no rows");
  Table table;
  for (auto& [time, row] : rows) {
    row = static_cast<std::uint32_t>(table.times_s.size());
    table.times_s.push_back(time);
  }
  for (auto& [name, values] : columns) {
    Column& column = table.columns.emplace_back();
    column.entity = name.first;
    column.metric = name.second;
    split_statistic(column);
    column.values.assign(table.times_s.size(), missing);
    for (const auto& [time, value] : values) column.values[rows[time]] = value;
  }
  return table;
}

}  // namespace

Result<Table> read_table(const std::string& path, const Graph* graph) {
  auto csv = CsvReader::open(path);
  if (!csv) return pass(std::move(csv));
  const auto more = csv->next();
  if (!more) return std::unexpected(more.error());
  if (!*more) return fail(Errc::usage, path + ": the file is empty");
  Words first = csv->cells();
  if (first.size() < 2) return csv->refuse("expected a heading with at least a time and a metric");
  if (const auto heading = long_heading(first)) return read_long(*csv, *heading, first.size());
  auto table = read_wide(*csv, std::move(first), graph);
  if (!table) return table;
  sort_rows(*table);
  return table;
}

}  // namespace weir::explain
