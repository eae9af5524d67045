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

/// Adds --btf: a file that exists, instead of the running kernel's type information.
inline void add_btf_option(CLI::App& command, std::string& path) {
  command.add_option("--btf", path, "Kernel type information (default /sys/kernel/btf/vmlinux)")
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
}

/// Adds an option or argument whose word may be left out but not be empty: "" is an unset variable of a script, and
/// would mean everything.
inline CLI::Option* add_word_option(CLI::App& command, const std::string& name, std::string& word,
                                    const std::string& description) {
  return command.add_option(name, word, description)
      ->check(CLI::Validator([](std::string& given) { return given.empty() ? "it is empty" : std::string(); }, ""));
}

void add_capabilities(CLI::App& app, Program& program);
void add_doctor(CLI::App& app, Program& program);
void add_explain(CLI::App& app, Program& program);
void add_flows(CLI::App& app, Program& program);
void add_lab(CLI::App& app, Program& program);
void add_netns(CLI::App& app, Program& program);
void add_queues(CLI::App& app, Program& program);
void add_convert(CLI::App& app, Program& program);
void add_show(CLI::App& app, Program& program);
void add_trace(CLI::App& app, Program& program);

}  // namespace weir::cli
