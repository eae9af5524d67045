// Entity graphs from JSON, a CSV adjacency matrix or a CSV list of edges.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/result.h"
#include "base/text.h"
#include "reason/explain/csv.h"
#include "weir/explain.h"

namespace weir::explain {

namespace {

/// Entities by name, in the order in which they were met.
class GraphBuilder {
 public:
  std::uint32_t entity(const std::string& name) {
    const auto [found, added] = ids_.emplace(name, static_cast<std::uint32_t>(graph_.entities.size()));
    if (added) graph_.entities.push_back(name);
    return found->second;
  }
  void edge(const std::string& from, const std::string& to) {
    const std::uint32_t asks = entity(from);
    graph_.edges.push_back({asks, entity(to)});
  }
  Result<Graph> take(const std::string& path) && {
    if (graph_.entities.empty()) return fail(Errc::usage, path + ": there are no entities");
    std::ranges::sort(graph_.edges);
    graph_.edges.erase(std::ranges::unique(graph_.edges).begin(), graph_.edges.end());
    return std::move(graph_);
  }

 private:
  Graph graph_;
  std::unordered_map<std::string, std::uint32_t> ids_;
};

Result<Graph> read_adjacency(CsvReader& csv, const std::vector<std::string>& heading, const std::string& path) {
  GraphBuilder builder;
  for (std::size_t i = 1; i < heading.size(); ++i) builder.entity(heading[i]);
  while (true) {
    const auto more = csv.next();
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    const auto& cells = csv.cells();
    if (cells.size() != heading.size()) {
      return csv.refuse(fmt::format("{} cells, the heading has {}", cells.size(), heading.size()));
    }
    for (std::size_t i = 1; i < cells.size(); ++i) {
      const auto value = parse_cell(cells[i]);
      if (!value) return csv.refuse(fmt::format("'{}' is not a number", printable(cells[i])));
      if (!std::isnan(*value) && *value != 0) builder.edge(cells[0], heading[i]);
    }
  }
  return std::move(builder).take(path);
}

Result<Graph> read_edges(CsvReader& csv, std::size_t width, const std::string& path) {
  GraphBuilder builder;
  while (true) {
    const auto more = csv.next();
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    if (csv.cells().size() != width) {
      return csv.refuse(fmt::format("{} cells, the heading has {}", csv.cells().size(), width));
    }
    if (csv.cells()[1].empty()) {
      builder.entity(csv.cells()[0]);
    } else {
      builder.edge(csv.cells()[0], csv.cells()[1]);
    }
  }
  return std::move(builder).take(path);
}

/// The name of a node or end of an edge: a word, or an object with "name" or "id".
std::optional<std::string> name_of(const nlohmann::json& node) {
  if (node.is_string()) return node.get<std::string>();
  if (!node.is_object()) return std::nullopt;
  for (const char* key : {"name", "id", "entity"}) {
    if (const auto found = node.find(key); found != node.end() && found->is_string()) return found->get<std::string>();
  }
  return std::nullopt;
}

Result<void> add_edge(GraphBuilder& builder, const nlohmann::json& edge, const std::string& path) {
  std::optional<std::string> from;
  std::optional<std::string> to;
  if (edge.is_array() && edge.size() >= 2) {
    from = name_of(edge[0]);
    to = name_of(edge[1]);
  } else if (edge.is_object()) {
    for (const char* key : {"from", "source"}) {
      if (edge.contains(key)) from = name_of(edge[key]);
    }
    for (const char* key : {"to", "target"}) {
      if (edge.contains(key)) to = name_of(edge[key]);
    }
  }
  if (!from || !to) {
    return fail(Errc::usage, fmt::format("{}: {} is no edge", path, edge.dump().substr(0, 80)),
                R"(expected {"from": "a", "to": "b"} or ["a", "b"])");
  }
  builder.edge(*from, *to);
  return {};
}

Result<Graph> read_json(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const auto document = nlohmann::json::parse(file, nullptr, false);
  if (document.is_discarded()) return fail(Errc::usage, path + ": not a JSON document");
  if (!document.is_object() || !document.contains("edges") || !document["edges"].is_array()) {
    return fail(Errc::usage, path + ": no list of \"edges\"",
                R"(expected {"nodes": ["a", "b"], "edges": [{"from": "a", "to": "b"}]})");
  }
  GraphBuilder builder;
  for (const char* key : {"nodes", "entities"}) {
    if (!document.contains(key)) continue;
    for (const auto& node : document[key]) {
      const auto name = name_of(node);
      if (!name) return fail(Errc::usage, fmt::format("{}: {} is no node", path, node.dump().substr(0, 80)));
      builder.entity(*name);
    }
  }
  for (const auto& edge : document["edges"]) {
    if (auto added = add_edge(builder, edge, path); !added) return std::unexpected(added.error());
  }
  return std::move(builder).take(path);
}

}  // namespace

Result<Graph> read_graph(const std::string& path) {
  std::ifstream probe(path, std::ios::binary);
  if (!probe) return std::unexpected(errno_error(errno, path));
  probe >> std::ws;
  if (probe.peek() == '{' || probe.peek() == '[') return read_json(path);
  auto csv = CsvReader::open(path);
  if (!csv) return pass(std::move(csv));
  const auto more = csv->next();
  if (!more) return std::unexpected(more.error());
  if (!*more) return fail(Errc::usage, path + ": the file is empty");
  const std::vector<std::string> heading = csv->cells();
  const std::string first = std::string(trim(heading[0]));
  if (heading.size() >= 2 && (first == "from" || first == "source" || first == "caller")) {
    return read_edges(*csv, heading.size(), path);
  }
  if (heading.size() < 2)
    return csv->refuse("expected a matrix of entities, or a list of edges with the heading from,to");
  return read_adjacency(*csv, heading, path);
}

}  // namespace weir::explain
