// weir doctor: watch, then a ranked list of findings.
#include "reason/doctor/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/units.h"
#include "cli/command.h"
#include "cli/render_findings.h"
#include "cli/session.h"
#include "model/json.h"
#include "reason/doctor/suspicion.h"
#include "sys/clock.h"

namespace weir::cli {

namespace {

struct DoctorOptions {
  ObserveOptions observe;
  std::string fail_on;
};

Result<std::optional<model::Severity>> parse_severity(const std::string& word) {
  if (word.empty()) return std::nullopt;
  for (const auto severity : {model::Severity::info, model::Severity::warning, model::Severity::critical}) {
    if (word == to_string(severity)) return severity;
  }
  return fail(Errc::usage, fmt::format("--fail-on: '{}' is not a severity", word), "one of info, warning, critical");
}

Result<Exit> run_doctor(const DoctorOptions& options) {
  const auto fail_on = parse_severity(options.fail_on);
  if (!fail_on) return std::unexpected(fail_on.error());
  const auto capabilities = require_data_plane(options.observe.btf_path);
  if (!capabilities) return std::unexpected(capabilities.error());
  const auto config = read_host_config();
  if (!config) return std::unexpected(config.error());
  auto request = observe_request(options.observe, *config);
  if (!request) return pass(std::move(request));
  request->suspicious = reason::worth_following;
  if (isatty(STDERR_FILENO) == 1) {
    const auto watched = std::ranges::count_if(config->devices, request->wanted);
    fmt::print(stderr, "watching {} device{} for {} (Ctrl-C ends it early) ...\n", watched, watched == 1 ? "" : "s",
               format_duration(request->duration));
  }
  const auto observation = observe::observe(*request, sys::SystemClock{});
  if (!observation) return std::unexpected(observation.error());
  const auto findings = reason::diagnose(*observation);

  if (options.observe.json) {
    std::cout << model::to_text(model::doctor_json(*observation, *capabilities, findings)) << '\n';
  } else {
    std::cout << render_findings(*observation, findings, isatty(STDOUT_FILENO) == 1);
  }
  const bool matched = *fail_on && std::ranges::any_of(findings, [&](const model::Finding& finding) {
    return finding.severity >= **fail_on;
  });
  return matched ? Exit::matched : Exit::done;
}

}  // namespace

void add_doctor(CLI::App& app, Program& program) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* command = app.add_subcommand("doctor", "Watch this host, then say what is wrong, why, and what mends it");
  command->add_option("--for", options->observe.duration, "How long to watch (500ms, 10s, 5m)")->default_str("10s");
  add_word_option(*command, "--netns", options->observe.netns,
                  "Only this namespace (name, path, pid:N, id:N; default all)");
  add_word_option(*command, "--dev", options->observe.device, "Only this device (dev or netns/dev)");
  command->add_option("--fail-on", options->fail_on, "Exit 4 when a finding is at least this: info, warning, critical");
  add_btf_option(*command, options->observe.btf_path);
  add_json_option(*command, options->observe.json);
  command->footer(
      "Examples:\n  weir doctor\n  weir doctor --for 30s --netns web --json\n  weir doctor --fail-on warning   (for "
      "health checks)");
  command->callback([options, &program] { program.action = [options] { return run_doctor(*options); }; });
}

}  // namespace weir::cli
