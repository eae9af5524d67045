// Root causes on an entity graph: which entity's change explains a symptom, how much of it, and how sure that is.
//
// Learn a Past from the graph and a healthy table once, then explain() any window of later rows against it. Nothing
// here is told apart by an entity's name; the names of metrics say what they measure (quantity_of()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/result.h"

namespace weir::explain {

/// A value that was not measured.
inline constexpr float missing = std::numeric_limits<float>::quiet_NaN();

/// What a metric measures, which decides what adds up along an edge and which way is bad.
enum class Quantity : std::uint8_t { latency, availability, failures, requests, drops, utilisation, other };

/// As the schemas write it: "latency", …
std::string_view to_string(Quantity quantity);
/// Told from the words in a metric's name ("latency", "errors_total", "cpu_pct"); `other` when none is known.
Quantity quantity_of(std::string_view metric);

/// `from` asks something of `to`, or is carried by it: what is wrong with `to` can be felt at `from`.
struct Edge {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  auto operator<=>(const Edge&) const = default;
};

struct Graph {
  std::vector<std::string> entities;
  std::vector<Edge> edges;
};

/// One metric over time. `statistic` is "Average", "p99", "Sum" or empty.
struct Column {
  std::string entity;
  std::string metric;
  std::string statistic;
  std::vector<float> values;  ///< as many as the table has rows; `missing` where there is none
};

/// Measurements, by rows in time. Times are in seconds, ascending.
struct Table {
  std::vector<double> times_s;
  std::vector<Column> columns;
};

/// The rows from `first` up to, without, `last`; and all the others.
Table rows_of(const Table& table, std::size_t first, std::size_t last);
Table rows_without(const Table& table, std::size_t first, std::size_t last);

/// Reads CSV: wide (a column a metric, with one heading line "entity:metric", or two or three of entity, metric and
/// statistic), or long (time, entity, metric, value). `graph`, where given, tells entity and metric of a heading apart
/// when both may contain the separator. Errc::usage with file and line for what is no such table.
Result<Table> read_table(const std::string& path, const Graph* graph = nullptr);

/// Reads a graph: JSON {"nodes": [...], "edges": [{"from", "to"}]}, a CSV adjacency matrix (a row asks the columns), or
/// a CSV list with the heading from,to.
Result<Graph> read_graph(const std::string& path);

struct Symptom {
  std::string entity;
  std::string metric;             ///< "latency", or "latency/p99" where there are several statistics
  std::optional<double> since_s;  ///< when it began; unknown: found within the window
};

enum class Engine : std::uint8_t {
  combined,        ///< excess mass, counterfactual and onset together: the default
  mass,            ///< excess mass alone
  murphy,          ///< Murphy's counterfactual, analytically
  murphy_sampled,  ///< the same by Gibbs-style resampling
  max_z,
  ranked_correlation,
  traversal,
  random_walk,
};
std::string_view to_string(Engine engine);
/// In the order of the enumeration.
std::vector<Engine> all_engines();
/// Errc::usage, with the nearest names, for none of them.
Result<Engine> parse_engine(std::string_view word);

/// Something that somebody changed: a configuration, a route, a deployment.
struct Change {
  double time_s = 0;
  std::string entity;
  std::string what;
};
/// Reads CSV with the heading time,entity,change.
Result<std::vector<Change>> read_changes(const std::string& path);

struct Options {
  Engine engine = Engine::combined;
  std::size_t top = 5;            ///< causes named at most
  double significance = 0.05;     ///< a cause with a larger p-value is not named
  bool undirected = false;        ///< edges say only that two entities have to do with each other
  std::uint64_t seed = 1;         ///< of engines that sample
  std::vector<Change> changes{};  ///< those around the onset are told beside the entities that they are of
};

/// What an entity or an edge has to do with the symptom.
struct Cause {
  std::string entity;
  std::string metric;   ///< of this entity, the one that moved most
  double blame = 0;     ///< share of the symptom's change that stays here
  double p_value = 1;   ///< of at least such a score in a healthy window
  double observed = 0;  ///< that metric, mean over the rows of the symptom
  double expected = 0;
  double lead_s = 0;                 ///< it moved so long before the symptom; negative: after
  double symptom_without = 0;        ///< what the symptom would have been, were this entity as usual
  std::string mechanism;             ///< "waits for a slower dependency", …
  std::vector<std::string> changes;  ///< what was changed there around the onset
};

struct ExplainedNode {
  std::string entity;
  std::string metric;
  double observed = 0;
  double expected = 0;
  double blame = 0;
};

struct ExplainedEdge {
  std::string from;
  std::string to;
  double amount = 0;  ///< of the symptom's change that passes from `from` to `to`, in `unit`
  std::string unit;   ///< "s" (request-seconds), "failures", … or the symptom's own
  std::string mechanism;
  double lead_s = 0;
  bool proposed = false;  ///< not in the graph: suggested by what would otherwise be left over
};

/// An entity that moved too, and why it is not named.
struct Rival {
  std::string entity;
  std::string reason;
};

struct Explanation {
  Engine engine = Engine::combined;
  std::string entity;
  std::string metric;
  double observed = 0;
  double expected = 0;
  double since_s = 0;
  std::vector<Cause> causes{};  ///< most likely first; empty: nothing stands out from the healthy past
  double p_value = 1;           ///< of the best one, named or not
  double unexplained = 1;       ///< blame plus this is 1
  std::vector<ExplainedNode> nodes{};
  std::vector<ExplainedEdge> edges{};
  std::vector<Rival> rivals{};
  std::vector<std::string> notes{};  ///< what was missing, what was assumed
};

/// What is known of a graph's entities when all is well.
class Past {
 public:
  /// Learns baselines. Columns of entities that the graph does not know make nodes without edges, and a note.
  /// Errc::usage when there are no rows, or graph and metrics have no entity in common.
  static Result<Past> learn(Graph graph, const Table& healthy);
  Past(Past&&) noexcept;
  Past& operator=(Past&&) noexcept;
  ~Past();

  struct Model;
  [[nodiscard]] const Model& model() const { return *model_; }

 private:
  explicit Past(std::unique_ptr<Model> model);
  std::unique_ptr<Model> model_;
};

/// Explains the symptom in `window`: rows right before and during what is to be explained. Errc::usage, with the
/// nearest names, for a symptom that is not there.
Result<Explanation> explain(const Past& past, const Table& window, const Symptom& symptom, const Options& options = {});

}  // namespace weir::explain
