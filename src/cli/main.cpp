// weir: the one binary.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "base/text.h"
#include "cli/command.h"

namespace {

using weir::Errc;
using weir::cli::Exit;

Exit exit_of(Errc code) {
  switch (code) {
    case Errc::usage:
      return Exit::usage;
    case Errc::unsupported:
    case Errc::permission:
      return Exit::cannot;
    case Errc::failed:
    case Errc::not_found:
    case Errc::busy:
      break;
  }
  return Exit::failed;
}

int report(const weir::Error& error) {
  fmt::print(stderr, "weir: {}\n", error.message);
  if (!error.hint.empty()) {
    // A hint may draw below what it speaks of.
    for (const std::string_view line : weir::split(error.hint, '\n')) fmt::print(stderr, "      {}\n", line);
  } else if (error.code == Errc::permission && geteuid() != 0) {
    fmt::print(stderr, "      run it as root (sudo weir …)\n");
  }
  return static_cast<int>(exit_of(error.code));
}

std::vector<std::string> command_names(CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

/// The first word that should be a command and is not, as an error with the nearest ones; CLI11 only says that one is
/// missing.
std::optional<weir::Error> unknown_command(CLI::App& app, int argc, char** argv) {
  CLI::App* at = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with('-') || at->get_subcommands({}).empty()) return std::nullopt;
    const auto commands = at->get_subcommands({});
    const auto next = std::ranges::find(commands, word, [](const CLI::App* command) { return command->get_name(); });
    if (next == commands.end()) {
      const std::vector<std::string> known = command_names(*at);
      const std::string below = at == &app ? "" : " of weir " + at->get_name();
      return weir::Error{Errc::usage, fmt::format("'{}' is no command{}", word, below), weir::suggest(word, known), 0};
    }
    at = *next;
  }
  return std::nullopt;
}

/// The commands below the one that was given without its own.
std::string missing_command(CLI::App& app) {
  CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  const std::vector<std::string> known = command_names(*at);
  const std::string name = at == &app ? "weir" : "weir " + at->get_name();
  return known.empty() ? std::string{} : fmt::format("commands of {}: {}", name, fmt::join(known, ", "));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Weir sees, explains and steers the network of a Linux host that many tenants share.", "weir"};
  app.set_version_flag("--version", "weir " WEIR_VERSION);
  app.require_subcommand(0, 1);
  weir::cli::Program program;
  weir::cli::add_doctor(app, program);
  weir::cli::add_explain(app, program);
  weir::cli::add_queues(app, program);
  weir::cli::add_trace(app, program);
  weir::cli::add_show(app, program);
  weir::cli::add_convert(app, program);
  weir::cli::add_capabilities(app, program);
  weir::cli::add_netns(app, program);
  weir::cli::add_flows(app, program);
  weir::cli::add_lab(app, program);
  if (const auto unknown = unknown_command(app, argc, argv)) return report(*unknown);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return report({Errc::usage, error.what(), missing_command(app), 0});
  }
  if (!program.action) {
    fmt::print("{}", app.help());
    return static_cast<int>(Exit::usage);
  }
  const weir::Error unwritten{Errc::failed, "the output could not be written whole", "is the disk full?", 0};
  weir::Result<Exit> result = Exit::failed;
  try {
    result = program.action();
  } catch (const std::system_error&) {  // what fmt::print() throws when a write fails
    return report(unwritten);
  }
  if (!result) return report(result.error());
  // A verdict that did not arrive is no success: the disk of a redirection may be full.
  if (!std::cout.flush() || std::fflush(stdout) != 0) return report(unwritten);
  return static_cast<int>(*result);
}
