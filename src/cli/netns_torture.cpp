// weir netns torture: does the namespace library keep its promises on this kernel?
#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "base/units.h"
#include "cli/netns.h"
#include "cli/session.h"
#include "netns/torture/torture.h"
#include "sys/signal.h"

namespace weir::cli {

namespace {

using Json = nlohmann::ordered_json;

struct TortureArguments {
  netns::TortureOptions options{.seed = 0};
  std::string span = "60s";
  bool no_faults = false;
  bool json = false;
};

Json to_json(const netns::TortureReport& report) {
  Json document{{"schema", "weir.torture/1"},
                {"seed", report.seed},
                {"seconds", report.seconds},
                {"switches", report.switches},
                {"sockets_checked", report.sockets_checked},
                {"homecomings_checked", report.homecomings_checked},
                {"echoes_checked", report.echoes_checked},
                {"ready_checked", report.ready_checked},
                {"namespaces_made", report.namespaces_made},
                {"faults_injected", report.faults_injected},
                {"errors_expected", report.errors_expected},
                {"wrong_namespace", report.wrong_namespace},
                {"repeated_identities", report.repeated_identities},
                {"false_ready", report.false_ready},
                {"leaked_fds", report.leaked_fds},
                {"stalls", report.stalls},
                {"broken", report.broken},
                {"invariants_broken", Json::array()},
                {"not_tried", report.not_tried},
                {"actors", Json::array()}};
  for (const auto& broken : report.invariants_broken) {
    document["invariants_broken"].push_back({{"invariant", broken.invariant},
                                             {"actor", broken.actor},
                                             {"operation", broken.operation},
                                             {"what", broken.what}});
  }
  for (const auto& actor : report.actors) {
    document["actors"].push_back(
        {{"name", actor.name}, {"operations", actor.operations}, {"digest", fmt::format("{:016x}", actor.digest)}});
  }
  return document;
}

void print(const netns::TortureReport& report) {
  fmt::print("{} in {:.1f} s, seed {}\n\n", report.broken == 0 ? "Nothing broke" : "BROKEN", report.seconds,
             report.seed);
  const auto line = [](std::string_view what, std::uint64_t checked, std::uint64_t wrong, std::string_view how) {
    fmt::print("  {:<22} {:>12} checked  {:>6} {}\n", what, checked, wrong, how);
  };
  line("sockets", report.sockets_checked, report.wrong_namespace, "of a wrong namespace");
  line("identities", report.namespaces_made, report.repeated_identities, "given twice");
  line("names told as ready", report.ready_checked, report.false_ready, "too early");
  fmt::print("  {:<22} {:>12} checked\n", "returns home", report.homecomings_checked);
  fmt::print("  {:<22} {:>12} checked\n", "echoes of tenants", report.echoes_checked);
  fmt::print("  {:<22} {:>12}\n", "switches", report.switches);
  fmt::print("  {:<22} {:>12} which explain {} errors\n", "faults injected", report.faults_injected,
             report.errors_expected);
  fmt::print("  {:<22} {:>12}\n  {:<22} {:>12}\n", "descriptors leaked", report.leaked_fds, "stalls", report.stalls);
  for (const std::string& what : report.not_tried) fmt::print("\nnot tried: {}\n", what);
  if (report.broken == 0) return;
  fmt::print("\n{} broken:\n", report.broken);
  for (const auto& broken : report.invariants_broken) {
    fmt::print("  {} ({}, operation {}): {}\n", broken.invariant, broken.actor.empty() ? "at the end" : broken.actor,
               broken.operation, broken.what);
  }
  fmt::print("\nagain: weir netns torture --seed {}\n", report.seed);
}

Result<Exit> run_torture(TortureArguments& arguments) {
  const auto span = duration_option(arguments.span, "--for");
  if (!span) return std::unexpected(span.error());
  netns::TortureOptions& options = arguments.options;
  options.duration = *span;
  options.faults = !arguments.no_faults;
  if (options.seed == 0) options.seed = std::random_device{}();
  auto stop = sys::StopSignal::install();
  if (!stop) return pass(std::move(stop));
  const auto report = netns::run_torture(options, [&] { return stop->requested(); });
  if (!report) return std::unexpected(report.error());
  if (arguments.json) {
    std::cout << to_json(*report).dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    print(*report);
  }
  return report->broken == 0 ? Exit::done : Exit::failed;
}

}  // namespace

void add_netns_torture(CLI::App& netns, Program& program) {
  auto arguments = std::make_shared<TortureArguments>();
  CLI::App* command =
      netns.add_subcommand("torture", "Threads that use, abuse and break the namespace library, checked by the kernel");
  command->add_option("--namespaces", arguments->options.namespaces, "Alive at any time (default 512)")
      ->check(CLI::Range(1, 100'000));
  command->add_option("--threads", arguments->options.threads, "That visit namespaces (default 8)")
      ->check(CLI::Range(1, 256));
  command->add_option("--for", arguments->span, "How long (500ms, 10s, 5m; default 60s)");
  command->add_option("--seed", arguments->options.seed, "Which operations (default: another one each time)")
      ->check(CLI::PositiveNumber);
  command->add_option("--operations", arguments->options.operations, "At most so many by each actor")
      ->check(CLI::PositiveNumber);
  command->add_flag("--no-faults", arguments->no_faults, "Break nothing, only use");
  add_json_option(*command, arguments->json);
  command->footer(
      "Exit code 1 and what broke when an invariant does not hold. Everything is made in namespaces of its own and is\n"
      "gone with the process.\n\n"
      "Examples:\n  weir netns torture --for 10m\n  weir netns torture --seed 4711 --json | jq .invariants_broken");
  command->callback([arguments, &program] { program.action = [arguments] { return run_torture(*arguments); }; });
}

}  // namespace weir::cli
