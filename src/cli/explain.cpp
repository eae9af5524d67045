// weir explain: root causes on an entity graph, from files.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/command.h"
#include "cli/render_explanation.h"
#include "export/explanation_picture.h"
#include "model/json.h"
#include "reason/explain/explanation_json.h"
#include "reason/explain/petshop.h"
#include "reason/explain/without_graph.h"

namespace weir::cli {

namespace {

struct ExplainOptions {
  std::string graph;
  std::string metrics;
  std::string healthy;
  std::string symptom;
  std::string since;
  std::string changes;
  std::string engine = "combined";
  std::string petshop;
  std::string rcaeval;
  std::string split = "train";
  std::string dot;
  std::string svg;
  explain::Options explain;
  bool report = false;
  bool json = false;
};

/// Seconds since 1970, or "2026-11-22T10:30:00Z".
Result<std::optional<double>> parse_since(const std::string& word) {
  if (word.empty()) return std::nullopt;
  double number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error == std::errc() && end == word.data() + word.size() && std::isfinite(number)) return number;
  std::tm when{};
  const char* rest = strptime(word.c_str(), "%Y-%m-%dT%H:%M:%S", &when);
  if (rest != nullptr && (*rest == '\0' || std::string_view(rest) == "Z")) return static_cast<double>(timegm(&when));
  return fail(Errc::usage, fmt::format("--since: '{}' is not a time", printable(word)),
              "seconds since 1970, or 2026-11-22T10:30:00Z");
}

/// ENTITY:METRIC where both may contain colons: the longest entity that the table knows wins.
Result<explain::Symptom> parse_symptom(const std::string& word, const explain::Table& table) {
  explain::Symptom best;
  for (const explain::Column& column : table.columns) {
    const std::string& entity = column.entity;
    const bool fits = word.size() > entity.size() + 1 && word.starts_with(entity) && word[entity.size()] == ':';
    if (fits && entity.size() > best.entity.size()) best = {entity, word.substr(entity.size() + 1), {}};
  }
  if (!best.entity.empty()) return best;
  const auto colon = word.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == word.size()) {
    return fail(Errc::usage, fmt::format("--symptom: '{}' is not ENTITY:METRIC", printable(word)));
  }
  return explain::Symptom{word.substr(0, colon), word.substr(colon + 1), {}};
}

struct Evidence {
  explain::Table past;
  explain::Table window;
};

/// Healthy past and window. Of one table what is before the onset is the past, and the window begins a few rows before
/// it, so that an onset that is a little late is found; without an onset the last fifth is looked at.
Result<Evidence> split_table(explain::Table table, const std::optional<double>& since) {
  constexpr std::size_t lead_rows = 5;
  constexpr std::size_t least_past = 10;
  const std::size_t rows = table.times_s.size();
  std::size_t first = rows - rows / 5;
  if (since) {
    first = static_cast<std::size_t>(std::ranges::lower_bound(table.times_s, *since) - table.times_s.begin());
    if (first == rows) return fail(Errc::usage, "--since is after the last row of the metrics");
  }
  const std::size_t begin = first > lead_rows ? first - lead_rows : 0;
  if (begin < least_past) {
    return fail(Errc::usage, fmt::format("only {} rows before the symptom: no past to compare with", begin),
                "give a healthy past with --healthy FILE");
  }
  return Evidence{explain::rows_of(table, 0, begin), explain::rows_of(table, begin, rows)};
}

Result<Evidence> read_evidence(const ExplainOptions& options, const explain::Graph& graph,
                               const std::optional<double>& since) {
  auto table = explain::read_table(options.metrics, &graph);
  if (!table) return pass(std::move(table));
  if (options.healthy.empty()) return split_table(*std::move(table), since);
  auto past = explain::read_table(options.healthy, &graph);
  if (!past) return pass(std::move(past));
  return Evidence{*std::move(past), *std::move(table)};
}

Result<void> write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) return fail_errno(errno, path);
  return {};
}

Result<Exit> explain_files(ExplainOptions& options) {
  const auto since = parse_since(options.since);
  if (!since) return std::unexpected(since.error());
  auto graph = explain::read_graph(options.graph);
  if (!graph) return pass(std::move(graph));
  auto evidence = read_evidence(options, *graph, *since);
  if (!evidence) return pass(std::move(evidence));
  if (!options.changes.empty()) {
    auto changes = explain::read_changes(options.changes);
    if (!changes) return pass(std::move(changes));
    options.explain.changes = *std::move(changes);
  }
  auto past = explain::Past::learn(*std::move(graph), evidence->past);
  if (!past) return pass(std::move(past));
  auto symptom = parse_symptom(options.symptom, evidence->past);
  if (!symptom) return pass(std::move(symptom));
  symptom->since_s = *since;
  const auto explanation = explain::explain(*past, evidence->window, *symptom, options.explain);
  if (!explanation) return std::unexpected(explanation.error());
  if (!options.dot.empty()) {
    if (auto written = write_file(options.dot, exporter::explanation_dot(*explanation)); !written) {
      return pass(std::move(written));
    }
  }
  if (!options.svg.empty()) {
    if (auto written = write_file(options.svg, exporter::explanation_svg(*explanation)); !written) {
      return pass(std::move(written));
    }
  }
  if (options.json) {
    std::cout << model::to_text(explain::to_json(*explanation)) << '\n';
  } else {
    std::cout << render_explanation(*explanation, isatty(STDOUT_FILENO) == 1);
  }
  return Exit::done;
}

Result<Exit> explain_data_set(const ExplainOptions& options) {
  explain::DataSetOptions data_set{
      .split = options.split, .engines = {options.explain.engine}, .options = options.explain, .healthy_windows = true};
  if (options.report) {
    data_set.engines.clear();
    for (const auto engine : explain::all_engines()) data_set.engines.push_back(engine);
  }
  std::vector<explain::ExplainedCase> cases;
  const auto take = [&](const explain::ExplainedCase& explained) {
    constexpr int one_line = -1;
    if (options.json) std::cout << model::to_text(explain::to_json(explained), one_line) << '\n';
    cases.push_back(explained);
  };
  auto done = options.petshop.empty() ? explain::explain_rcaeval(options.rcaeval, take)
                                      : explain::explain_petshop(options.petshop, data_set, take);
  if (!done) return pass(std::move(done));
  std::cout.flush();
  const std::string table = render_data_set(cases);
  // The cases are the document; without them the table is.
  fmt::print(options.json ? stderr : stdout, "{}", table);
  return Exit::done;
}

Result<Exit> run_explain(ExplainOptions& options) {
  auto engine = explain::parse_engine(options.engine);
  if (!engine) return pass(std::move(engine), "--engine");
  options.explain.engine = *engine;
  if (options.explain.top == 0) return fail(Errc::usage, "--top 0 would name nothing");
  if (!options.petshop.empty() && !options.rcaeval.empty()) {
    return fail(Errc::usage, "--petshop and --rcaeval-style are two data sets");
  }
  if (!options.petshop.empty() || !options.rcaeval.empty()) {
    if (!options.graph.empty() || !options.metrics.empty() || !options.symptom.empty()) {
      return fail(Errc::usage, "a whole data set is run: --graph, --metrics and --symptom do not go with it");
    }
    return explain_data_set(options);
  }
  for (const auto& [name, value] : {std::pair{"--graph", &options.graph}, std::pair{"--metrics", &options.metrics},
                                    std::pair{"--symptom", &options.symptom}}) {
    if (value->empty()) return fail(Errc::usage, fmt::format("{} is missing", name), "weir explain --help");
  }
  return explain_files(options);
}

}  // namespace

void add_explain(CLI::App& app, Program& program) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* command =
      app.add_subcommand("explain", "Say which entity of a graph is the root cause of a symptom, and show the books");
  const auto file = [&](const std::string& name, std::string& path, const std::string& words) {
    return command->add_option(name, path, words)->check(CLI::ExistingFile)->type_name("FILE");
  };
  file("--graph", options->graph, "Who depends on whom: JSON, or CSV (adjacency matrix, or from,to)");
  file("--metrics", options->metrics,
       "Metrics over time: CSV, wide (entity:metric) or long (time,entity,metric,value)");
  file("--healthy", options->healthy, "A healthy past (default: the rows before the symptom)");
  add_word_option(*command, "--symptom", options->symptom, "What is to be explained")->type_name("ENTITY:METRIC");
  add_word_option(*command, "--since", options->since, "When it began: seconds since 1970, or 2026-11-22T10:30:00Z");
  file("--changes", options->changes, "What somebody changed: CSV time,entity,change");
  add_word_option(*command, "--engine", options->engine,
                  "combined, mass, murphy, murphy-sampled, max-z, correlation, traversal, random-walk");
  command->add_option("--top", options->explain.top, "Causes named at most")->default_str("5");
  command->add_option("--significance", options->explain.significance, "Largest p-value of a cause that is named")
      ->default_str("0.05")
      ->check(CLI::Range(0.0, 1.0));
  command->add_flag("--undirected", options->explain.undirected, "Edges do not say who depends on whom");
  command->add_option("--seed", options->explain.seed, "Of engines that sample")->default_str("1");
  add_word_option(*command, "--dot", options->dot, "Write the explanation's graph for Graphviz")->type_name("FILE");
  add_word_option(*command, "--svg", options->svg, "Write it as a picture")->type_name("FILE");
  command->add_option("--petshop", options->petshop, "Explain every case of a data set in PetShop's layout")
      ->check(CLI::ExistingDirectory)
      ->type_name("DIR");
  command
      ->add_option("--rcaeval-style", options->rcaeval,
                   "Rank services and metrics of every folder with a wide CSV and inject_time.txt; without a graph")
      ->check(CLI::ExistingDirectory)
      ->type_name("DIR");
  add_word_option(*command, "--split", options->split, "Which of its cases: train, test");
  command->add_flag("--report", options->report, "With every engine beside each other");
  add_json_option(*command, options->json);
  command->callback([options, &program] { program.action = [options] { return run_explain(*options); }; });
}

}  // namespace weir::cli
