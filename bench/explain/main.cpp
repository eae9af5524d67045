// What root causes cost: a case of PetShop's, a large graph cold and warm, and Murphy's counterfactual in closed form
// beside sampling it, here and with numpy. Times are of the thread's CPU: the machine may have other work.
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "numpy_reference.h"
#include "reason/explain/conditionals.h"
#include "reason/explain/petshop.h"
#include "reason/explain/random.h"
#include "support/synthetic_incidents.h"

namespace weir::explain {

using nlohmann::ordered_json;

namespace {

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// The best of so many runs.
template <typename Work>
double seconds_of(int runs, const Work& work) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) {
    const double start = cpu_seconds();
    work();
    best = std::min(best, cpu_seconds() - start);
  }
  return best;
}

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// Entities with `metrics` each that ask up to five later ones; a fault of the last but one reaches the first.
struct LargeCase {
  Graph graph;
  Table healthy;
  Table window;
  Symptom symptom{"e0", "pressure_0", {}};
};

/// Everything follows from a metric of what it asks; values of both tables are written row by row.
LargeCase make_large(std::uint32_t entities, std::uint32_t metrics, std::size_t rows) {
  constexpr std::size_t window_rows = 30;
  constexpr std::size_t before = 10;
  LargeCase result;
  Random random(1);
  std::vector<std::vector<std::uint32_t>> callees(entities);
  const auto name = [](std::uint32_t i) { return "e" + std::to_string(i); };
  for (std::uint32_t i = 0; i < entities; ++i) {
    result.graph.entities.push_back(name(i));
    for (int k = 0; k < 5 && i + 1 < entities; ++k) {
      callees[i].push_back(i + 1 + random.below(std::min(entities - i - 1, i < 100 ? 10U : 2000U)));
      result.graph.edges.push_back({i, callees[i].back()});
    }
  }
  const std::uint32_t root = callees[callees[callees[0][0]][0]][0];
  for (Table* table : {&result.healthy, &result.window}) {
    const std::size_t count = table == &result.healthy ? rows : window_rows;
    for (std::size_t row = 0; row < count; ++row) {
      table->times_s.push_back(static_cast<double>(table == &result.healthy ? row : rows + row) * 60);
    }
    for (std::uint32_t i = 0; i < entities * metrics; ++i) {
      table->columns.push_back(
          {name(i / metrics), fmt::format("pressure_{}", i % metrics), "", std::vector<float>(count)});
    }
    for (std::uint32_t i = entities * metrics; i-- > 0;) {
      auto& values = table->columns[i].values;
      for (float& value : values) value = static_cast<float>(50 + random.normal());
      for (const std::uint32_t callee : callees[i / metrics]) {
        const auto& asked = table->columns[callee * metrics + i % metrics].values;
        for (std::size_t row = 0; row < count; ++row) values[row] += 0.18F * (asked[row] - 50);
      }
      if (i / metrics != root || table == &result.healthy) continue;
      for (std::size_t row = before; row < count; ++row) values[row] += 2000;
    }
  }
  return result;
}

ordered_json measure_large(std::uint32_t entities, std::uint32_t metrics, std::size_t rows) {
  const LargeCase large = make_large(entities, metrics, rows);
  const double before_mib = peak_mib();
  ordered_json result{{"entities", entities}, {"metrics_each", metrics}, {"rows", rows}};
  std::optional<Result<Past>> past;
  Graph graph = large.graph;
  const double start = cpu_seconds();
  past.emplace(Past::learn(std::move(graph), large.healthy));
  result["learn_past_s"] = cpu_seconds() - start;
  if (!*past) throw std::runtime_error((*past).error().message);
  std::vector<std::string> causes;
  const auto explain_once = [&] {
    const auto explanation = explain::explain(**past, large.window, large.symptom);
    if (!explanation) throw std::runtime_error(explanation.error().message);
    causes.clear();
    for (const Cause& cause : explanation->causes) causes.push_back(cause.entity);
  };
  result["first_explanation_s"] = seconds_of(1, explain_once);
  result["cold_s"] = result["learn_past_s"].get<double>() + result["first_explanation_s"].get<double>();
  result["warm_s"] = seconds_of(3, explain_once);
  result["causes"] = causes;
  const auto incident = make_case((*past)->model(), large.window, large.symptom, false);
  result["murphy_s"] = seconds_of(3, [&] { rank_by_murphy(*incident); });
  result["all_conditionals_s"] = seconds_of(2, [&] { learn_conditionals((*past)->model()); });
  result["peak_memory_mib"] = peak_mib();
  result["of_that_the_tables_mib"] = before_mib;
  return result;
}

/// Closed form, own sampling and numpy's on one case.
ordered_json compare_murphy(const std::string& name, const Case& incident) {
  const MurphySettings settings;
  Suspects analytic;
  Suspects sampled;
  ordered_json result{{"case", name},
                      {"entities", incident.past->graph.entities.size()},
                      {"metrics", incident.past->metrics.size()},
                      {"samples", settings.samples}};
  const double exact_s = seconds_of(20, [&] { analytic = rank_by_murphy(incident, settings); });
  const double sampled_s = seconds_of(3, [&] { sampled = rank_by_murphy_sampled(incident, settings); });
  result["analytic_s"] = exact_s;
  result["sampled_s"] = sampled_s;
  const auto numpy = run_numpy_murphy(incident, settings);
  if (!numpy) {
    result["numpy"] = numpy.error().message;
    return result;
  }
  const auto entities = [](const Suspects& suspects) {
    std::vector<std::uint32_t> list;
    for (const Suspect& suspect : suspects) list.push_back(suspect.entity);
    return list;
  };
  result["numpy_s"] = numpy->seconds;
  result["numpy_over_analytic"] = numpy->seconds / exact_s;
  result["numpy_over_sampled"] = numpy->seconds / sampled_s;
  // Entities whose test is at the edge of significance may be in the one and not in the other.
  result["rankings"] = {{"analytic", entities(analytic)}, {"sampled", entities(sampled)}, {"numpy", numpy->ranking}};
  return result;
}

ordered_json measure_synthetic(test::Family family, std::uint64_t seed) {
  const auto made = test::make_incident(family, seed);
  const auto past = Past::learn(made.graph, made.healthy);
  if (!past) throw std::runtime_error(past.error().message);
  const auto incident = make_case(past->model(), made.window, made.symptom, false);
  if (!incident) throw std::runtime_error(incident.error().message);
  return compare_murphy(fmt::format("{} {}", test::to_string(family), seed), *incident);
}

/// Every training case with the default engine; Murphy on the first.
ordered_json measure_petshop(const std::string& folder, ordered_json& murphy) {
  double slowest = 0;
  double sum = 0;
  int cases = 0;
  const auto done = explain_petshop(folder, {.healthy_windows = false}, [&](const ExplainedCase& explained) {
    slowest = std::max(slowest, explained.seconds);
    sum += explained.seconds;
    ++cases;
  });
  if (!done) throw std::runtime_error(done.error().message);
  const std::filesystem::path scenario = std::filesystem::path(folder) / "low_traffic";
  const auto graph = read_graph((scenario / "graph.csv").string());
  if (!graph) throw std::runtime_error(graph.error().message);
  const auto healthy = read_table((scenario / "noissue" / "metrics.csv").string(), &*graph);
  const auto window = read_table((scenario / "train" / "issue_0" / "metrics.csv").string(), &*graph);
  if (!healthy || !window) throw std::runtime_error("no tables in " + scenario.string());
  std::ifstream file(scenario / "train" / "issue_0" / "target.json");
  const auto target = nlohmann::json::parse(file)["target"];
  const auto past = Past::learn(*graph, *healthy);
  if (!past) throw std::runtime_error(past.error().message);
  const auto incident =
      make_case(past->model(), *window,
                {target["node"], target["metric"].get<std::string>() + "/" + target["agg"].get<std::string>(),
                 target["timestamp"]},
                false);
  if (!incident) throw std::runtime_error(incident.error().message);
  murphy.push_back(compare_murphy("PetShop low_traffic/train/issue_0", *incident));
  return {{"cases", cases}, {"mean_s", sum / std::max(1, cases)}, {"slowest_s", slowest}};
}

int run(int argc, char** argv) {
  CLI::App app{"Measures what root causes cost"};
  std::string petshop;
  std::uint32_t entities = 10'000;
  app.add_option("--petshop", petshop, "the folder of PetShop's scenarios");
  app.add_option("--entities", entities, "of the large graph")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    ordered_json report{{"schema", "weir.bench_explain/1"}};
    for (const auto& [family, seed] : {std::pair{test::Family::dag, 3}, std::pair{test::Family::cycles, 4}}) {
      report["murphy"].push_back(measure_synthetic(family, static_cast<std::uint64_t>(seed)));
    }
    if (!petshop.empty()) report["petshop"] = measure_petshop(petshop, report["murphy"]);
    report["large"] = measure_large(entities, 10, 512);
    fmt::print("{}\n", report.dump(2));
  } catch (const std::exception& error) {
    fmt::print(stderr, "explain: {}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace

}  // namespace weir::explain

int main(int argc, char** argv) {
  return weir::explain::run(argc, argv);
}
