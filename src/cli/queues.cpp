// weir queues show|explain: packets per queue, who chose the queue, and where a recorded queue came from.
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/units.h"
#include "cli/command.h"
#include "cli/device_argument.h"
#include "cli/live_view.h"
#include "cli/queues_fix.h"
#include "cli/render_findings.h"
#include "cli/render_queues.h"
#include "cli/session.h"
#include "model/json.h"
#include "reason/doctor/doctor.h"
#include "sys/clock.h"

namespace weir::cli {

namespace {

struct QueueShowOptions {
  ObserveOptions observe;
  bool watch = false;
};

/// One round. `indent` as nlohmann::json::dump() takes it: -1 is one line, for a stream.
void print_queues(const model::HostObservation& observation, bool json, int indent) {
  if (json) {
    std::cout << model::to_text(model::queues_json(observation.config, observation.devices), indent) << std::endl;
    return;
  }
  if (observation.devices.empty()) std::cout << "no packets on any of these devices\n";
  for (const model::DeviceObservation& seen : observation.devices) {
    std::cout << render_device_queues(observation.config, seen);
  }
  std::cout.flush();
}

/// The screen of a live view.
std::string live_screen(const model::HostObservation& observation, const QueueShowOptions& options) {
  const std::string what = options.observe.device.empty() ? "devices with packets" : options.observe.device;
  const std::string time = format_utc(observation.start + observation.duration).substr(11, 8);
  std::string text = fmt::format("weir queues: {}   {} UTC, the last {}   (q ends it)\n\n", what, time,
                                 format_duration(observation.duration));
  if (observation.devices.empty()) text += "no such device now, or no packets\n";
  for (const model::DeviceObservation& seen : observation.devices) {
    text += render_device_rates(observation.config, seen) + '\n';
  }
  return text;
}

Result<Exit> watch_queues(observe::ObserveRequest request, const QueueShowOptions& options) {
  std::optional<LiveView> view;
  if (!options.observe.json && isatty(STDOUT_FILENO) == 1) {
    auto opened = LiveView::open();
    if (!opened) return pass(std::move(opened));
    view.emplace(*std::move(opened));
    // What waited before keeps the signals from killing the program for as long as it lives.
    request.wait = [&view, before = std::move(request.wait)](std::chrono::nanoseconds length) {
      return view->wait(length);
    };
    view->show("watching ...\n");
  }
  const sys::SystemClock clock;
  auto watch = observe::QueueWatch::start(request, clock);
  if (!watch) return pass(std::move(watch));
  for (bool interrupted = false; !interrupted;) {
    auto observation = watch->next(request.duration, interrupted);
    if (!observation) return pass(std::move(observation));
    if (view) {
      view->show(live_screen(*observation, options));
    } else {
      print_queues(*observation, options.observe.json, -1);
    }
    if (!view && !std::cout) break;  // main() says that nobody takes it any more
  }
  return Exit::done;
}

Result<Exit> show_queues(const QueueShowOptions& options) {
  if (auto possible = require_data_plane(options.observe.btf_path); !possible) return pass(std::move(possible));
  const auto config = read_host_config();
  if (!config) return std::unexpected(config.error());
  auto request = observe_request(options.observe, *config);
  if (!request) return pass(std::move(request));
  request->keep_idle = !options.observe.device.empty();
  if (options.watch) return watch_queues(*std::move(request), options);
  request->windows = 1;
  auto observation = observe::observe(*request, sys::SystemClock{});
  if (!observation) return pass(std::move(observation));
  print_queues(*observation, options.observe.json, 2);
  if (!options.observe.json && !observation->devices.empty()) {
    std::cout << "next: weir queues explain " << to_string(observation->devices.front().device) << '\n';
  }
  return Exit::done;
}

nlohmann::ordered_json changes_json(const model::DeviceObservation& seen) {
  auto rows = nlohmann::ordered_json::array();
  const auto point = [](const model::PathPoint& at) -> nlohmann::ordered_json {
    if (at.hook.empty()) return nullptr;
    return {{"hook", at.hook}, {"dev", at.device.name}, {"netns", at.device.netns.name}};
  };
  for (const model::MappingChange& change : seen.changes) {
    rows.push_back({{"origin", {{"dev", change.origin.name}, {"netns", change.origin.netns.name}}},
                    {"from", point(change.from)},
                    {"to", point(change.to)},
                    {"before", change.before},
                    {"after", change.after},
                    {"packets", change.packets}});
  }
  return rows;
}

Result<Exit> explain_queues(const ObserveOptions& options) {
  if (auto possible = require_data_plane(options.btf_path); !possible) return pass(std::move(possible));
  const auto config = read_host_config();
  if (!config) return std::unexpected(config.error());
  const auto device = find_device(*config, options.device, options.netns);
  if (!device) return std::unexpected(device.error());
  auto request = observe_request(options, *config);
  if (!request) return pass(std::move(request));
  request->keep_idle = true;
  request->follow_at_once = true;
  request->suspicious = [](const model::DeviceConfig&, const model::QueueWindow&) { return true; };
  auto observation = observe::observe(*request, sys::SystemClock{});
  if (!observation) return pass(std::move(observation));
  if (observation->devices.empty()) {
    return fail(Errc::not_found, to_string(*device) + " went away before it could be watched");
  }
  const auto findings = reason::diagnose(*observation);

  if (options.json) {
    nlohmann::ordered_json document{{"schema", "weir.queues_explain/1"}};
    document["queues"] = model::queues_json(observation->config, observation->devices)["devices"];
    document["changes"] = nlohmann::ordered_json::array();
    for (const auto& seen : observation->devices) document["changes"] = changes_json(seen);
    document["findings"] = nlohmann::ordered_json::array();
    for (const auto& finding : findings) document["findings"].push_back(to_json(finding));
    document["notes"] = observation->config.unread;
    std::cout << model::to_text(document) << '\n';
    return Exit::done;
  }
  for (const auto& seen : observation->devices) {
    std::cout << render_device_queues(observation->config, seen) << '\n' << render_mapping_changes(seen) << '\n';
  }
  std::cout << render_findings(*observation, findings, isatty(STDOUT_FILENO) == 1);
  return Exit::done;
}

void add_observe_options(CLI::App& command, ObserveOptions& options) {
  add_word_option(command, "--netns", options.netns, "Namespace (name, path, pid:N, id:N) or all");
  command.add_option("--for", options.duration, "How long to watch (500ms, 10s, 5m)")->default_str(options.duration);
  add_btf_option(command, options.btf_path);
  add_json_option(command, options.json);
}

}  // namespace

void add_queues(CLI::App& app, Program& program) {
  CLI::App* queues = app.add_subcommand("queues", "Packets per queue, who chose the queue, and the mending of it");
  queues->require_subcommand(1);

  auto show = std::make_shared<QueueShowOptions>();
  show->observe.duration = "5s";
  CLI::App* show_command = queues->add_subcommand("show", "Packets per queue and who chose the queue");
  add_word_option(*show_command, "DEV", show->observe.device,
                  "dev or netns/dev; all devices that carry packets without it");
  add_observe_options(*show_command, show->observe);
  show_command->add_flag("--watch", show->watch,
                         "A live view: one round after the other, each --for long (default 1s)");
  show_command->callback([show, show_command, &program] {
    if (show->watch && show_command->count("--for") == 0) show->observe.duration = "1s";
    program.action = [show] { return show_queues(*show); };
  });

  auto explain = std::make_shared<ObserveOptions>();
  explain->duration = "5s";
  CLI::App* explain_command = queues->add_subcommand(
      "explain", "Where on the path the recorded queue of a device's packets was set, and by whom");
  add_word_option(*explain_command, "DEV", explain->device, "dev or netns/dev")->required();
  add_observe_options(*explain_command, *explain);
  explain_command->callback([explain, &program] { program.action = [explain] { return explain_queues(*explain); }; });

  add_queues_fix(*queues, program);
  add_queues_undo(*queues, program);
}

}  // namespace weir::cli
