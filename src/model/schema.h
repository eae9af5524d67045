// Schemas as data: every metric is declared once, with type, unit and meaning, and never named by a bare string
// elsewhere. Documents, docs/metrics.md and (as they come) store, Prometheus and the web page are driven by these
// tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir::model {

enum class Type : std::uint8_t { u64, f64, text };
enum class Unit : std::uint8_t { none, packets, bytes, queues, queue_number, nanoseconds, ratio };
/// What a value does over time: a counter only grows while its entity lives; a gauge is true at its moment; a key names
/// the row.
enum class Kind : std::uint8_t { key, counter, gauge };

struct Column {
  std::string_view name;  ///< snake_case, as in every document
  Type type = Type::u64;
  Unit unit = Unit::none;
  Kind kind = Kind::gauge;
  std::string_view meaning;
};

struct Table {
  std::string_view name;
  std::string_view entity;  ///< kind of entity that a row belongs to
  std::string_view meaning;
  std::span<const Column> columns;

  /// Index of a column; a name that is not there does not compile.
  [[nodiscard]] consteval std::size_t column(std::string_view wanted) const {
    for (std::size_t index = 0; index < columns.size(); ++index) {
      if (columns[index].name == wanted) return index;
    }
    throw "no such column";
  }
};

std::string_view to_string(Type type);
std::string_view to_string(Unit unit);
std::string_view to_string(Kind kind);

/// Every table of the model, in the order of docs/metrics.md.
std::span<const Table> tables();

/// docs/metrics.md, whole.
std::string metrics_page();

}  // namespace weir::model
