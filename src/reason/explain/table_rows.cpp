// Parts of a table.
#include <utility>

#include "weir/explain.h"

namespace weir::explain {

namespace {

/// A table of what `cut` leaves of the times and of each column.
template <class Cut>
Table cut_table(const Table& table, const Cut& cut) {
  Table result{.times_s = cut(table.times_s), .columns = {}};
  result.columns.reserve(table.columns.size());
  for (const Column& column : table.columns) {
    result.columns.push_back({column.entity, column.metric, column.statistic, cut(column.values)});
  }
  return result;
}

template <class Values>
auto ends_of(const Values& values, std::size_t first, std::size_t last) {
  return std::pair{values.begin() + static_cast<std::ptrdiff_t>(first),
                   values.begin() + static_cast<std::ptrdiff_t>(last)};
}

}  // namespace

Table rows_of(const Table& table, std::size_t first, std::size_t last) {
  return cut_table(table, [&]<class Values>(const Values& values) {
    const auto [from, to] = ends_of(values, first, last);
    return Values(from, to);
  });
}

Table rows_without(const Table& table, std::size_t first, std::size_t last) {
  return cut_table(table, [&]<class Values>(Values values) {
    const auto [from, to] = ends_of(values, first, last);
    values.erase(from, to);
    return values;
  });
}

}  // namespace weir::explain
