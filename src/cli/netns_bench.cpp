// weir netns bench: what namespaces cost on this machine, and whether switching has become dearer.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/netns.h"
#include "cli/render_netns_bench.h"
#include "netns/bench/run.h"
#include "sys/signal.h"

namespace weir::cli {

namespace {

using netns::bench::Baseline;
using netns::bench::Report;
using netns::bench::Verdict;

struct BenchOptions {
  netns::bench::Options measure;
  std::string sockets = "200000";
  std::vector<std::string> only;
  std::string save;
  std::string baseline;
  bool json = false;
};

/// A whole number, which may be written as 1e9.
Result<std::uint64_t> parse_count(const std::string& option, const std::string& text) {
  double value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  constexpr double kMost = 1e15;  // exact in a double, and years of work
  if (error != std::errc() || end != text.data() + text.size() || !(value >= 0) || value > kMost ||
      value != std::floor(value)) {
    return fail(Errc::usage, option + ": '" + text + "' is no count", "a whole number such as 200000 or 1e9");
  }
  return static_cast<std::uint64_t>(value);
}

Result<void> choose_parts(const std::vector<std::string>& only, netns::bench::Options& measure) {
  if (only.empty()) return {};
  const std::vector<std::string> known{"switching", "sockets", "echo"};
  for (const std::string& part : only) {
    if (std::ranges::find(known, part) == known.end()) {
      return fail(Errc::usage, "--only: '" + part + "' is no part", suggest(part, known));
    }
  }
  const auto chosen = [&only](const char* part) { return std::ranges::find(only, part) != only.end(); };
  measure.switching = chosen("switching");
  measure.sockets = chosen("sockets");
  measure.echo = chosen("echo");
  return {};
}

/// Reads it and looks whether what is to be measured can be compared with it, before minutes are spent on that.
Result<Baseline> read_baseline(const std::string& path, std::size_t namespaces) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open()) return fail(Errc::usage, "--baseline: cannot read " + path);
  auto baseline = Baseline::parse(text);
  if (!baseline) return pass(std::move(baseline), "--baseline: " + path);
  auto root = sys::FileTree::open();
  if (!root) return pass(std::move(root));
  auto key = netns::bench::gate_key(*root);
  if (!key) return pass(std::move(key));
  auto comparable = netns::bench::comparable(*baseline, *key, std::min(namespaces, netns::bench::kGateNamespaces));
  if (!comparable) return pass(std::move(comparable), "--baseline: " + path);
  return baseline;
}

Result<void> save_baseline(const std::string& path, const Baseline& baseline) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << baseline.json() << std::flush;
  if (!file) return fail(Errc::failed, "--save: cannot write " + path);
  return {};
}

Result<Exit> run_bench(const BenchOptions& options) {
  netns::bench::Options measure = options.measure;
  if (auto chosen = choose_parts(options.only, measure); !chosen) return pass(std::move(chosen));
  auto sockets = parse_count("--sockets", options.sockets);
  if (!sockets) return pass(std::move(sockets));
  measure.checked_sockets = *sockets;
  const bool gated = !options.save.empty() || !options.baseline.empty();
  if (gated && !measure.switching)
    return fail(Errc::usage, "--save and --baseline are about switching: --only leaves it out");
  std::optional<Baseline> before;
  if (!options.baseline.empty()) {
    auto read = read_baseline(options.baseline, measure.namespaces);
    if (!read) return pass(std::move(read));
    before = std::move(*read);
  }
  auto stop = sys::StopSignal::install();
  if (!stop) return pass(std::move(stop));
  const bool told = ::isatty(STDERR_FILENO) == 1;
  auto report = netns::bench::run(
      measure,
      [told](const std::string& phase) {
        if (told) fmt::print(stderr, "weir: {} ...\n", phase);
      },
      [&stop] { return stop->requested(); });
  if (!report) return pass(std::move(report));
  std::optional<Verdict> verdict;
  if (before && !report->interrupted) {
    verdict = netns::bench::judge(*before, *report->gate, {.seed = measure.seed});
  }
  if (options.json) {
    std::cout << netns_bench_json(*report, verdict).dump(2) << '\n';
  } else {
    std::cout << render_netns_bench(*report, verdict);
  }
  if (!options.save.empty() && !report->interrupted) {
    if (auto saved = save_baseline(options.save, *report->gate); !saved) return pass(std::move(saved));
  }
  const bool wrong = report->check && report->check->wrong > 0;
  return wrong || (verdict && verdict->worse) ? Exit::failed : Exit::done;
}

}  // namespace

void add_netns_bench(CLI::App& netns, Program& program) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      netns.add_subcommand("bench", "What switching, sockets elsewhere and serving many namespaces cost");
  command->add_option("--namespaces", options->measure.namespaces, "How many to make (default 1024)")
      ->check(CLI::Range(1, 1'000'000));
  command->add_option("--only", options->only, "Only these parts: switching, sockets, echo")->delimiter(',');
  command->add_option("--connections", options->measure.connections, "Of each way to serve an echo (default 1024)")
      ->check(CLI::Range(1, 100'000));
  command->add_option("--rounds", options->measure.rounds, "Of the echo; the more, the surer (default 21)")
      ->check(CLI::Range(1, 10'000));
  command->add_option("--sockets", options->sockets,
                      "How many to open elsewhere and ask for their namespace, 1e9 for instance (default 200000)");
  command->add_option("--seed", options->measure.seed, "Of every random order (default 1)");
  command->add_option("--save", options->save, "Write the switch's cost to FILE, to compare with later")
      ->type_name("FILE");
  command->add_option("--baseline", options->baseline, "Compare with FILE of --save; exit 1 when switching is dearer")
      ->type_name("FILE");
  add_json_option(*command, options->json);
  command->footer(
      "Everything happens in namespaces without names, which are gone with the command. The echo compares, in turns "
      "of\n"
      "one run, one namespace with all of them at the same number of connections.\n\n"
      "Examples:\n  weir netns bench\n  weir netns bench --only sockets --sockets 1e9\n"
      "  weir netns bench --only switching --namespaces 10000\n"
      "  weir netns bench --only switching --save before.json      # and after an upgrade of Weir:\n"
      "  weir netns bench --only switching --baseline before.json");
  command->callback([options, &program] { program.action = [options] { return run_bench(*options); }; });
}

}  // namespace weir::cli
