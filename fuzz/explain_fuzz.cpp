// Tables, graphs and changes from somebody else's files: the first byte says which, the rest is the file. What can be
// read is explained, so that odd numbers reach the engines as well.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "weir/explain.h"

namespace {

namespace explain = weir::explain;

/// The whole table as its own past, with the first column as the symptom.
void try_to_explain(const explain::Table& table) {
  explain::Graph graph;
  for (const explain::Column& column : table.columns) {
    if (graph.entities.empty() || graph.entities.back() != column.entity) graph.entities.push_back(column.entity);
  }
  for (std::uint32_t i = 0; i + 1 < graph.entities.size(); ++i) graph.edges.push_back({i, i + 1});
  const auto past = explain::Past::learn(graph, table);
  if (!past || table.columns.empty()) return;
  const auto explanation = explain::explain(*past, table, {table.columns[0].entity, table.columns[0].metric, {}});
  if (explanation && explanation->causes.size() > explain::Options{}.top) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const int file = memfd_create("explain_fuzz", MFD_CLOEXEC);
  if (file < 0) return 0;
  const bool written = write(file, data + 1, size - 1) == static_cast<ssize_t>(size - 1);
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (written && data[0] % 3 == 0) {
    const auto table = explain::read_table(path);
    if (table) try_to_explain(*table);
  } else if (written && data[0] % 3 == 1) {
    (void)explain::read_graph(path);
  } else if (written) {
    (void)explain::read_changes(path);
  }
  close(file);
  return 0;
}
