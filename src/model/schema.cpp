#include "model/schema.h"

#include <fmt/format.h>

#include "model/queue_schema.h"

namespace weir::model {

std::string_view to_string(Type type) {
  switch (type) {
    case Type::u64:
      return "u64";
    case Type::f64:
      return "f64";
    case Type::text:
      break;
  }
  return "text";
}

std::string_view to_string(Unit unit) {
  switch (unit) {
    case Unit::packets:
      return "packets";
    case Unit::bytes:
      return "bytes";
    case Unit::queues:
      return "queues";
    case Unit::queue_number:
      return "queue number";
    case Unit::nanoseconds:
      return "ns";
    case Unit::ratio:
      return "ratio";
    case Unit::none:
      break;
  }
  return "-";
}

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::key:
      return "key";
    case Kind::counter:
      return "counter";
    case Kind::gauge:
      break;
  }
  return "gauge";
}

std::span<const Table> tables() {
  static constexpr std::array kTables{kQueueTable, kDeviceQueueTable};
  return kTables;
}

std::string metrics_page() {
  std::string page =
      "# Metrics\n\n"
      "Made from the schemas in src/model by `tests/golden/approve.sh`; a test keeps it true.\n";
  for (const Table& table : tables()) {
    page += fmt::format(
        "\n## {}\n\n{}. Entity: {}.\n\n| name | type | unit | kind | meaning |\n| --- | --- | --- | --- | --- |\n",
        table.name, table.meaning, table.entity);
    for (const Column& column : table.columns) {
      page += fmt::format("| `{}` | {} | {} | {} | {} |\n", column.name, to_string(column.type), to_string(column.unit),
                          to_string(column.kind), column.meaning);
    }
  }
  return page;
}

}  // namespace weir::model
