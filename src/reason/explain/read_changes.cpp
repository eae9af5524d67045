// Change events from CSV.
#include <fmt/format.h>

#include <cmath>

#include "base/text.h"
#include "reason/explain/csv.h"
#include "weir/explain.h"

namespace weir::explain {

Result<std::vector<Change>> read_changes(const std::string& path) {
  auto csv = CsvReader::open(path);
  if (!csv) return pass(std::move(csv));
  std::vector<Change> changes;
  bool heading = true;
  while (true) {
    const auto more = csv->next();
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    const auto& cells = csv->cells();
    if (cells.size() != 3) return csv->refuse("expected three cells: time,entity,change");
    const auto time = parse_cell(cells[0]);
    if (heading && !time) {
      heading = false;
      continue;
    }
    heading = false;
    if (!time || std::isnan(*time)) {
      return csv->refuse(fmt::format("'{}' is not a time in seconds", printable(cells[0])));
    }
    changes.push_back({*time, cells[1], cells[2]});
  }
  return changes;
}

}  // namespace weir::explain
