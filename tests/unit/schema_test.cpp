#include "model/schema.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "model/queue_schema.h"

namespace weir::model {
namespace {

TEST(Schema, FindsAColumnAtCompileTime) {
  static_assert(kQueueTable.column("bytes") == 2);
  EXPECT_EQ(kQueueColumns[kQueueTable.column("wire_packets")].unit, Unit::packets);
}

TEST(Schema, NamesAreUniqueAndEveryColumnHasAMeaning) {
  for (const Table& table : tables()) {
    std::set<std::string_view> names;
    for (const Column& column : table.columns) {
      EXPECT_TRUE(names.insert(column.name).second) << table.name << "." << column.name;
      EXPECT_FALSE(column.meaning.empty()) << table.name << "." << column.name;
      EXPECT_EQ(column.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), std::string_view::npos);
    }
  }
}

/// docs/metrics.md is made from the schemas: WEIR_APPROVE=1 writes it anew.
TEST(Schema, MetricsPageIsTrue) {
  const std::string path = WEIR_SOURCE_DIR "/docs/metrics.md";
  if (std::getenv("WEIR_APPROVE") != nullptr) std::ofstream(path) << metrics_page();
  std::stringstream page;
  page << std::ifstream(path).rdbuf();
  EXPECT_EQ(page.str(), metrics_page()) << "run tests/golden/approve.sh";
}

}  // namespace
}  // namespace weir::model
