#include "cli/queues_fix.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/device_argument.h"
#include "cli/session.h"
#include "model/json.h"
#include "reason/doctor/doctor.h"
#include "steer/executor.h"
#include "steer/queues/plan_queue_fix.h"
#include "steer/queues/tc_changes.h"
#include "steer/queues/verify.h"
#include "sys/clock.h"

namespace weir::cli {

namespace {

struct FixOptions {
  ObserveOptions observe;
  std::string place = "egress";
  std::string journal = steer::kDefaultJournal;
  bool apply = false;
};

/// What came of a fix, for both kinds of output.
struct FixReport {
  model::DeviceRef device;
  std::optional<model::Plan> plan;
  std::optional<model::Refusal> refusal;
  std::optional<steer::Effect> effect;
  bool applied = false;
  bool rolled_back = false;
  std::vector<std::string> notes;
};

void print_json(const FixReport& report) {
  nlohmann::ordered_json document{{"schema", "weir.queues_fix/1"},
                                  {"netns", report.device.netns.name},
                                  {"dev", report.device.name},
                                  {"plan", nullptr},
                                  {"refusal", nullptr},
                                  {"applied", report.applied},
                                  {"rolled_back", report.rolled_back},
                                  {"effect", nullptr},
                                  {"notes", report.notes}};
  if (report.plan) document["plan"] = model::to_json(*report.plan);
  if (report.refusal) document["refusal"] = model::to_json(*report.refusal);
  if (report.effect) {
    document["effect"] = {{"effective_queues_before", report.effect->before},
                          {"effective_queues_after", report.effect->after},
                          {"real_queues", report.effect->real},
                          {"packets_after", report.effect->packets_after},
                          {"improved", report.effect->improved},
                          {"verdict", report.effect->verdict}};
  }
  fmt::print("{}\n", model::to_text(document));
}

void print_plan(const model::Plan& plan) {
  fmt::print("Plan: {}\n", plan.title);
  int number = 0;
  for (const model::PlanStep& step : plan.steps) {
    fmt::print("  {}. {}\n       {}\n", ++number, step.what, step.command);
  }
  fmt::print("  Then: {}\n", plan.expected_effect);
  for (const std::string& warning : plan.warnings) fmt::print("  Note: {}\n", warning);
}

/// A sentence: advice comes with and without its full stop.
std::string sentence(std::string words) {
  if (!words.ends_with('.')) words += '.';
  return words;
}

void print_text(const FixReport& report) {
  const std::string name = to_string(report.device);
  if (report.refusal) {
    fmt::print("No plan: {}\nInstead: {}\n", sentence(report.refusal->reason), sentence(report.refusal->instead));
    return;
  }
  print_plan(*report.plan);
  if (report.effect) fmt::print("\n{}.\n", report.effect->verdict);
  for (const std::string& note : report.notes) fmt::print("Note: {}.\n", note);
  if (report.rolled_back) {
    fmt::print("Taken back: {} is as it was.\n", name);
  } else if (report.applied) {
    fmt::print("In force until it is undone or the host restarts. To take it back: weir queues undo {} --apply\n",
               name);
  } else {
    fmt::print("\nNothing is changed. To apply it: weir queues fix {} --apply\n", name);
  }
}

/// Watches the one device; progress goes to a terminal's stderr.
Result<model::HostObservation> measure(const observe::ObserveRequest& request, const std::string& what) {
  if (isatty(STDERR_FILENO) == 1) fmt::print(stderr, "{} ({} s) …\n", what, request.duration / std::chrono::seconds(1));
  return observe::observe(request, sys::SystemClock{});
}

model::DeviceObservation seen_of(const model::HostObservation& observation, const model::DeviceRef& device) {
  const auto seen = std::ranges::find(observation.devices, device, &model::DeviceObservation::device);
  return seen != observation.devices.end() ? *seen
                                           : model::DeviceObservation{.device = device, .windows = {}, .changes = {}};
}

/// Applies the plan, measures, and takes it back when it does not help.
Result<void> apply_and_verify(const FixOptions& options, const steer::QueueFixPlan& plan,
                              const observe::ObserveRequest& request, const model::HostObservation& before,
                              FixReport& report) {
  auto journal = steer::Journal::open(options.journal);
  if (!journal) return pass(std::move(journal));
  auto changes = steer::changes_of(plan);
  const steer::Undoers undoers = steer::tc_undoers();
  auto entry = steer::apply_plan(*journal, plan.plan, changes, undoers, sys::SystemClock{});
  if (!entry) return pass(std::move(entry));
  report.applied = true;

  const auto after = measure(request, "applied; measuring the effect");
  const model::DeviceConfig* device = before.config.find(report.device);
  if (after && device != nullptr) {
    report.effect =
        steer::judge_effect(seen_of(before, report.device), seen_of(*after, report.device), device->real_tx_queues);
    if (report.effect->improved) return {};
  } else {
    report.notes.push_back("the effect could not be measured" + (after ? std::string() : ": " + after.error().message));
  }
  auto undone = steer::undo_entry(*journal, *std::move(entry), undoers);
  if (!undone) return pass(std::move(undone), "it did not help, and taking it back failed");
  report.notes.insert(report.notes.end(), undone->begin(), undone->end());
  report.rolled_back = true;
  return {};
}

Result<FixReport> make_report(const FixOptions& options) {
  if (auto possible = require_data_plane(options.observe.btf_path); !possible) return pass(std::move(possible));
  const auto config = read_host_config();
  if (!config) return std::unexpected(config.error());
  const auto device = find_device(*config, options.observe.device, options.observe.netns);
  if (!device) return std::unexpected(device.error());
  FixReport report{.device = *device, .plan = {}, .refusal = {}, .effect = {}, .notes = {}};
  ObserveOptions watched = options.observe;
  watched.device = to_string(*device);
  auto request = observe_request(watched, *config);
  if (!request) return pass(std::move(request));
  request->keep_idle = true;
  const auto before = measure(*request, "watching " + to_string(*device));
  if (!before) return std::unexpected(before.error());
  if (options.apply && !request->wait(std::chrono::nanoseconds::zero())) {
    return fail(Errc::failed, "interrupted before there was a plan; nothing is changed");
  }

  const auto place = options.place == "ingress" ? steer::FixPlace::ingress : steer::FixPlace::egress;
  auto answer = steer::plan_queue_fix(*before, reason::diagnose(*before), *device, place);
  if (auto* refusal = std::get_if<model::Refusal>(&answer)) {
    report.refusal = std::move(*refusal);
    return report;
  }
  const auto& plan = std::get<steer::QueueFixPlan>(answer);
  report.plan = plan.plan;
  if (options.apply) {
    auto applied = apply_and_verify(options, plan, *request, *before, report);
    if (!applied) return pass(std::move(applied));
  }
  return report;
}

Result<Exit> run(const FixOptions& options) {
  const auto report = make_report(options);
  if (!report) return std::unexpected(report.error());
  if (options.observe.json) {
    print_json(*report);
  } else {
    print_text(*report);
  }
  return report->refusal || report->rolled_back ? Exit::failed : Exit::done;
}

}  // namespace

void add_queues_fix(CLI::App& queues, Program& program) {
  auto options = std::make_shared<FixOptions>();
  options->observe.duration = "5s";
  CLI::App* command =
      queues.add_subcommand("fix", "Clear recorded receive queues, so that packets spread over all transmit queues");
  add_word_option(*command, "DEV", options->observe.device,
                  "The device whose packets leave by too few queues: dev or netns/dev")
      ->required();
  add_word_option(*command, "--netns", options->observe.netns, "Namespace of DEV (name, path, pid:N, id:N)");
  command->add_option("--at", options->place, "Where to clear: at DEV's egress, or at the ingress of the culprits")
      ->check(CLI::IsMember({"egress", "ingress"}))
      ->default_str(options->place);
  command->add_option("--for", options->observe.duration, "How long to watch before, and again after (500ms, 10s, 5m)")
      ->default_str(options->observe.duration);
  command->add_flag("--apply", options->apply, "Carry the plan out; without it the plan is only shown");
  add_btf_option(*command, options->observe.btf_path);
  command->add_option("--journal", options->journal, "Where applied plans are written down")
      ->type_name("DIR")
      ->default_str(options->journal);
  add_json_option(*command, options->observe.json);
  command->footer("Examples:\n  weir queues fix nic0\n  weir queues fix weir-host/nic0 --apply");
  command->callback([options, &program] { program.action = [options] { return run(*options); }; });
}

}  // namespace weir::cli
