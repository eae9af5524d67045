#include "reason/explain/petshop.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace weir::explain {

namespace {

namespace fs = std::filesystem;

struct Target {
  Symptom symptom;
  std::optional<std::string> root;
};

Result<Target> read_target(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const auto document = nlohmann::json::parse(file, nullptr, false);
  if (document.is_discarded()) return fail(Errc::usage, path.string() + ": not a JSON document");
  try {
    const auto& target = document.at("target");
    Target result;
    result.symptom.entity = target.at("node").get<std::string>();
    result.symptom.metric = target.at("metric").get<std::string>() + "/" + target.at("agg").get<std::string>();
    result.symptom.since_s = target.at("timestamp").get<double>();
    if (document.contains("root_cause")) result.root = document["root_cause"].at("node").get<std::string>();
    return result;
  } catch (const nlohmann::json::exception& error) {
    return fail(Errc::usage, fmt::format("{}: {}", path.string(), error.what()));
  }
}

/// Sub-folders in the order of their names, numbers by value.
std::vector<fs::path> folders_of(const fs::path& folder) {
  std::vector<fs::path> result;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory()) result.push_back(entry.path());
  }
  std::ranges::sort(result, {}, [](const fs::path& path) {
    const std::string name = path.filename().string();
    const auto digits = name.find_last_not_of("0123456789") + 1;
    return std::pair(name.substr(0, digits), parse_u64(name.substr(digits)).value_or(0));
  });
  return result;
}

/// The scenario's healthy past, or whose it takes instead.
std::optional<fs::path> healthy_of(const fs::path& scenario) {
  for (const fs::path& folder : {scenario, scenario.parent_path() / "low_traffic"}) {
    if (fs::exists(folder / "noissue" / "metrics.csv")) return folder;
  }
  return std::nullopt;
}

class Runner {
 public:
  Runner(const DataSetOptions& options, const std::function<void(const ExplainedCase&)>& take)
      : options_(options), take_(take) {}

  Result<void> scenario(const fs::path& folder) {
    auto graph = read_graph((folder / "graph.csv").string());
    if (!graph) return pass(std::move(graph));
    const auto healthy_folder = healthy_of(folder);
    if (!healthy_folder) {
      return fail(Errc::usage, folder.string() + ": no noissue/metrics.csv, here or in low_traffic");
    }
    auto healthy = read_table((*healthy_folder / "noissue" / "metrics.csv").string(), &*graph);
    if (!healthy) return pass(std::move(healthy));
    auto past = Past::learn(*graph, *healthy);
    if (!past) return pass(std::move(past), folder.string());
    scenario_ = folder.filename().string();
    notes_.clear();
    if (*healthy_folder != folder) notes_.emplace_back("the healthy past is low_traffic's");
    std::map<std::string, Symptom> symptoms;
    for (const fs::path& path : folders_of(folder / options_.split)) {
      auto target = read_target(path / "target.json");
      if (!target) return pass(std::move(target));
      auto window = read_table((path / "metrics.csv").string(), &*graph);
      if (!window) return pass(std::move(window));
      const std::string name = fmt::format("{}/{}/{}", scenario_, options_.split, path.filename().string());
      if (auto done = all_engines(name, *past, *window, target->symptom, target->root); !done) return done;
      symptoms.emplace(target->symptom.metric, target->symptom);
    }
    if (options_.healthy_windows && *healthy_folder == folder) return healthy_windows(*graph, *healthy, symptoms);
    return {};
  }

 private:
  Result<void> all_engines(const std::string& name, const Past& past, const Table& window, const Symptom& symptom,
                           const std::optional<std::string>& truth) {
    for (const Engine engine : options_.engines) {
      Options options = options_.options;
      options.engine = engine;
      const auto began = std::chrono::steady_clock::now();
      auto explanation = explain(past, window, symptom, options);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
      if (!explanation) return pass(std::move(explanation), name);
      ExplainedCase result{.scenario = scenario_,
                           .name = name,
                           .symptom = symptom.metric,
                           .engine = engine,
                           .causes = {},
                           .p_value = explanation->p_value,
                           .seconds = took.count(),
                           .truth = truth,
                           .notes = notes_};
      for (const Cause& cause : explanation->causes) result.causes.push_back(cause.entity);
      take_(result);
    }
    return {};
  }

  /// Each window is judged by what the rest of the past says is usual.
  Result<void> healthy_windows(const Graph& graph, const Table& healthy,
                               const std::map<std::string, Symptom>& symptoms) {
    const std::size_t length = options_.healthy_rows;
    for (std::size_t first = 0; first + length <= healthy.times_s.size(); first += length) {
      const Table window = rows_of(healthy, first, first + length);
      auto past = Past::learn(graph, rows_without(healthy, first, first + length));
      if (!past) return pass(std::move(past));
      const std::string name = fmt::format("{}/noissue/rows_{}_{}", scenario_, first, first + length);
      for (const auto& [metric, symptom] : symptoms) {
        if (auto done = all_engines(name, *past, window, {symptom.entity, symptom.metric, {}}, {}); !done) return done;
      }
    }
    return {};
  }

  const DataSetOptions& options_;
  const std::function<void(const ExplainedCase&)>& take_;
  std::string scenario_;
  std::vector<std::string> notes_;
};

}  // namespace

Result<void> explain_petshop(const std::string& folder, const DataSetOptions& options,
                             const std::function<void(const ExplainedCase&)>& take) {
  Runner runner(options, take);
  std::size_t scenarios = 0;
  for (const fs::path& path : folders_of(folder)) {
    if (!fs::exists(path / "graph.csv") || !fs::exists(path / options.split)) continue;
    ++scenarios;
    if (auto done = runner.scenario(path); !done) return done;
  }
  if (scenarios == 0) {
    return fail(Errc::usage, fmt::format("{}: no scenario with graph.csv and a folder {}", folder, options.split),
                "expected DIR/{low_traffic,...}/{graph.csv,noissue/metrics.csv,SPLIT/issue_N/}");
  }
  return {};
}

}  // namespace weir::explain
