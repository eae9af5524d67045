// The healthy past: graph and metrics joined, and what is usual for each metric.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "base/text.h"
#include "reason/explain/engine_cache.h"

namespace weir::explain {

namespace {

std::vector<std::vector<std::uint32_t>> neighbours(const Graph& graph, bool reversed) {
  std::vector<std::vector<std::uint32_t>> lists(graph.entities.size());
  for (const Edge& edge : graph.edges) {
    if (edge.from == edge.to) continue;
    reversed ? lists[edge.to].push_back(edge.from) : lists[edge.from].push_back(edge.to);
  }
  for (auto& list : lists) {
    std::ranges::sort(list);
    list.erase(std::ranges::unique(list).begin(), list.end());
  }
  return lists;
}

std::string full_name(const Column& column) {
  return column.statistic.empty() ? column.metric : column.metric + "/" + column.statistic;
}

}  // namespace

Past::Past(std::unique_ptr<Model> model) : model_(std::move(model)) {}
Past::Past(Past&&) noexcept = default;
Past& Past::operator=(Past&&) noexcept = default;
Past::~Past() = default;

Result<Past> Past::learn(Graph graph, const Table& healthy) {
  if (healthy.times_s.empty()) return fail(Errc::usage, "the healthy past has no rows");
  for (const Edge& edge : graph.edges) {
    if (std::max(edge.from, edge.to) >= graph.entities.size()) return fail(Errc::usage, "an edge of no entity");
  }
  auto model = std::make_unique<Model>();
  model->engines = std::make_shared<EngineCache>();
  std::unordered_map<std::string, std::uint32_t> ids;
  for (std::uint32_t i = 0; i < graph.entities.size(); ++i) ids.emplace(graph.entities[i], i);
  const std::size_t in_graph = graph.entities.size();
  std::size_t joined = 0;
  for (const Column& column : healthy.columns) {
    const auto [found, added] = ids.emplace(column.entity, static_cast<std::uint32_t>(graph.entities.size()));
    if (added) graph.entities.push_back(column.entity);
    joined += found->second < in_graph ? 1 : 0;
    MetricInfo& metric = model->metrics.emplace_back();
    metric = {.entity = found->second,
              .name = full_name(column),
              .base = column.metric,
              .statistic = column.statistic,
              .quantity = quantity_of(column.metric)};
  }
  if (in_graph > 0 && joined == 0) {
    return fail(Errc::usage, "graph and metrics have no entity in common",
                fmt::format("the graph has e.g. '{}', the metrics '{}'", graph.entities.front(),
                            healthy.columns.empty() ? "" : healthy.columns.front().entity));
  }
  if (const std::size_t unknown = graph.entities.size() - in_graph; unknown > 0 && in_graph > 0) {
    model->notes.push_back(
        fmt::format("{} {} with metrics not in the graph", unknown, unknown == 1 ? "entity" : "entities"));
  }
  model->callees = neighbours(graph, false);
  model->callers = neighbours(graph, true);
  model->graph = std::move(graph);
  model->times_s = healthy.times_s;
  model->metrics_of.resize(model->graph.entities.size());
  model->healthy.reserve(healthy.columns.size() * healthy.times_s.size());
  model->baselines.reserve(healthy.columns.size());
  for (std::uint32_t i = 0; i < healthy.columns.size(); ++i) {
    model->metrics_of[model->metrics[i].entity].push_back(i);
    const auto& values = healthy.columns[i].values;
    if (values.size() != healthy.times_s.size()) {
      return fail(Errc::usage, fmt::format("column {} {} has {} values for {} rows", healthy.columns[i].entity,
                                           model->metrics[i].name, values.size(), healthy.times_s.size()));
    }
    model->healthy.insert(model->healthy.end(), values.begin(), values.end());
    model->baselines.push_back(baseline_of(values, model->metrics[i].quantity));
  }
  return Past(std::move(model));
}

}  // namespace weir::explain
