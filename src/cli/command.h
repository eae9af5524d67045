// How a subcommand joins the program: it adds itself to the CLI11 application and leaves what to run in the Program.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/result.h"

namespace weir::cli {

/// Exit codes of every command (DESIGN section 3).
enum class Exit : int { done = 0, failed = 1, usage = 2, cannot = 3, matched = 4 };

/// What the chosen subcommand will do; main() runs it after parsing.
struct Program {
  std::function<Result<Exit>()> action;
};

/// Adds --json; the flag lives as long as the application.
inline void add_json_option(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "Print one JSON document instead of text");
}

void add_capabilities(CLI::App& app, Program& program);
void add_doctor(CLI::App& app, Program& program);
void add_lab(CLI::App& app, Program& program);
void add_queues(CLI::App& app, Program& program);

}  // namespace weir::cli
