// weir lab: broken networks to try Weir on.
#include "lab/lab.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/command.h"
#include "cli/lab_run.h"
#include "model/json.h"

namespace weir::cli {

namespace {

using Json = nlohmann::ordered_json;

struct LabArguments {
  std::string scenario;
  lab::Options options;
  std::string family = "4";
  std::string l4 = "udp";
  std::string path;
  std::string span;
  std::vector<std::string> command;
  bool all = false;
  bool json = false;
};

void print(const Json& document) {
  fmt::print("{}\n", model::to_text(document));
}

/// Words of an option that stand for values; the error names the option and what was expected.
template <class Value>
Result<Value> choose(const char* option, const std::string& word,
                     const std::vector<std::pair<std::string, Value>>& choices) {
  std::string known;
  for (const auto& [name, value] : choices) {
    if (name == word) return value;
    known += (known.empty() ? "" : ", ") + name;
  }
  return fail(Errc::usage, fmt::format("{} '{}': expected one of {}", option, word, known));
}

Result<lab::Options> options_of(const LabArguments& arguments) {
  lab::Options options = arguments.options;
  auto family = choose<lab::Family>("--family", arguments.family, {{"4", lab::Family::v4}, {"6", lab::Family::v6}});
  if (!family) return pass(std::move(family));
  auto l4 = choose<lab::L4>("--l4", arguments.l4, {{"udp", lab::L4::udp}, {"tcp", lab::L4::tcp}});
  if (!l4) return pass(std::move(l4));
  options.family = *family;
  options.l4 = *l4;
  if (!arguments.path.empty()) {
    auto path = choose<lab::Path>(
        "--path", arguments.path,
        {{"routed", lab::Path::routed}, {"bridged", lab::Path::bridged}, {"vxlan", lab::Path::vxlan}});
    if (!path) return pass(std::move(path));
    options.path = *path;
  }
  return options;
}

Result<Exit> list(const LabArguments& arguments) {
  if (!arguments.json) {
    for (const lab::Scenario& scenario : lab::scenarios()) {
      fmt::print("{:<25} {}\n{:<25} {}\n", scenario.name, scenario.topology, "", scenario.truth);
    }
    fmt::print("\nTry one: weir lab run tx-collapse-tap -- weir doctor --for 10s\n");
    return Exit::done;
  }
  Json rows = Json::array();
  for (const lab::Scenario& scenario : lab::scenarios()) {
    rows.push_back({{"name", scenario.name}, {"topology", scenario.topology}, {"truth", scenario.truth}});
  }
  print({{"schema", "weir.lab_list/1"}, {"scenarios", rows}});
  return Exit::done;
}

void describe(const lab::Blueprint& blueprint) {
  fmt::print("{} is up. {}\n\n", blueprint.scenario, blueprint.truth);
  for (const lab::DevicePlan& device : blueprint.devices) {
    fmt::print("  {:<28} {:<9} {} tx queue{}\n", device.netns + "/" + device.dev, device.role, device.tx_queues,
               device.tx_queues == 1 ? "" : "s");
  }
  const std::string& prefix = blueprint.options.prefix;
  fmt::print("\nNo traffic flows; `weir lab run {}` brings its own. Take it down: weir lab down --prefix {}\n",
             blueprint.scenario, prefix);
}

Result<Exit> up(const LabArguments& arguments) {
  auto options = options_of(arguments);
  if (!options) return pass(std::move(options));
  const HeldSignals signals;  // a Ctrl-C must not leave half a lab
  auto lab = lab::Lab::up(arguments.scenario, *options);
  if (!lab) return pass(std::move(lab));
  if (signals.pending()) return fail(Errc::failed, "interrupted; nothing is left");
  if (auto ok = lab->keep(); !ok) return pass(std::move(ok));
  if (arguments.json) {
    print(to_json(lab->blueprint()));
  } else {
    describe(lab->blueprint());
  }
  return Exit::done;
}

void print_report(const lab::Report& report) {
  const double seconds = std::chrono::duration<double>(report.duration).count();
  fmt::print("{:<14} {:>6} {:>10} {:>10} {:>14} {:>8}\n", "SENDER", "FLOWS", "PACKETS", "PER SECOND", "PAYLOAD",
             "ERRORS");
  for (const lab::SenderReport& sender : report.senders) {
    fmt::print("{:<14} {:>6} {:>10} {:>10} {:>14} {:>8}\n", sender.label, sender.flows, sender.packets,
               format_count(static_cast<double>(sender.packets) / seconds),
               format_bit_rate(8 * static_cast<double>(sender.bytes) / seconds), sender.errors);
    if (sender.kind == lab::TrafficKind::request_response) {
      fmt::print("{:<14} round trip: p50 {}, p99 {}, p99.9 {}\n", "", format_duration(sender.p50),
                 format_duration(sender.p99), format_duration(sender.p999));
    }
  }
  fmt::print("\nArrived in the wire: {} packets, {}\n", format_count(static_cast<double>(report.delivered_packets)),
             format_bit_rate(8 * static_cast<double>(report.delivered_bytes) / seconds));
}

Result<Exit> run(const LabArguments& arguments) {
  auto options = options_of(arguments);
  if (!options) return pass(std::move(options));
  std::optional<std::chrono::nanoseconds> span;
  if (!arguments.span.empty()) {
    auto parsed = parse_duration(arguments.span);
    if (!parsed) return pass(std::move(parsed), "--for");
    if (parsed->count() == 0) return fail(Errc::usage, "--for 0s: expected a duration greater than zero");
    span = *parsed;
  }
  const HeldSignals signals;
  auto lab = lab::Lab::up(arguments.scenario, *options);
  if (!lab) return pass(std::move(lab));
  fmt::print(stderr, "lab: {} is up; starting traffic\n", lab->blueprint().scenario);
  if (auto ok = lab->start_traffic(); !ok) return pass(std::move(ok));
  Result<Exit> result = Exit::done;
  if (arguments.command.empty()) {
    fmt::print(stderr, "lab: traffic flows; Ctrl-C ends it early\n");
    result = signals.wait(span.value_or(std::chrono::seconds(20)), [&] { return lab->traffic_alive(); });
    auto report = lab->report();
    if (report) arguments.json ? print(to_json(*report)) : print_report(*report);
  } else {
    result = run_beside(arguments.command, lab->document_path(), span, signals);
    // A verdict on traffic that had stopped would be worth nothing.
    if (auto alive = lab->traffic_alive(); result && !alive) result = pass(std::move(alive));
  }
  if (auto ok = lab->down(); !ok && result) return pass(std::move(ok));
  return result;
}

Result<Exit> down(const LabArguments& arguments) {
  std::vector<std::string> prefixes{arguments.options.prefix};
  if (arguments.all) prefixes = lab::recorded_prefixes();
  std::optional<Error> first;
  for (const std::string& prefix : prefixes) {
    if (!arguments.scenario.empty()) {
      auto record = lab::read_record(prefix);
      if (record && *record && (*record)->scenario != arguments.scenario) {
        return fail(Errc::failed,
                    fmt::format("the lab under '{}' is {}, not {}", prefix, (*record)->scenario, arguments.scenario));
      }
    }
    auto gone = lab::take_down(prefix);
    if (!gone && !first) first = gone.error();
  }
  if (first) return std::unexpected(*first);
  return Exit::done;
}

void add_prefix_option(CLI::App& command, LabArguments& arguments) {
  command.add_option("--prefix", arguments.options.prefix, "Namespaces are PREFIXhost, PREFIXpod, PREFIXwire, …");
}

void add_build_options(CLI::App& command, LabArguments& arguments) {
  lab::Options& options = arguments.options;
  command.add_option("scenario", arguments.scenario, "Its name, from `weir lab list`")->required();
  add_prefix_option(command, arguments);
  command.add_option("--queues", options.queues, "Transmit queues of each uplink, 2 to 64");
  command.add_option("--pods", options.pods, "Workloads; the last one has the fault");
  command.add_option("--nics", options.nics, "Uplinks; the faulty workload sends by the first");
  command.add_option("--pod-queues", options.pod_queues, "Queues of the faulty workload's own device");
  command.add_option("--family", arguments.family, "4 or 6");
  command.add_option("--l4", arguments.l4, "udp or tcp");
  command.add_option("--path", arguments.path, "routed, bridged or vxlan");
  command.add_option("--flows", options.flows, "Flows of the faulty workload");
  command.add_option("--pps", options.pps, "Packets a second of all senders together");
  command.add_option("--mq-tbf", options.mq_tbf, "Shape every uplink queue to this rate, such as 50mbit");
  command.add_option("--nic-name", options.nic_name, "Name of the first uplink");
  command.add_option("--port-name", options.port_name, "Name of the first workload's port in the host");
  command.add_flag("--host-traffic", options.host_traffic, "The host itself sends as well");
  command.add_flag("--latency", options.latency, "Time a request and its response beside the traffic");
  add_json_option(command, arguments.json);
}

}  // namespace

void add_lab(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<LabArguments>();
  CLI::App* lab = app.add_subcommand("lab", "Build broken networks of namespaces to try Weir on");
  lab->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, Result<Exit> (*action)(const LabArguments&)) {
    CLI::App* command = lab->add_subcommand(name, help);
    command->callback([&program, arguments, action] { program.action = [=] { return action(*arguments); }; });
    return command;
  };
  CLI::App* list_command = add("list", "The scenarios and what is true of each", list);
  add_json_option(*list_command, arguments->json);
  CLI::App* up_command = add("up", "Build one and keep it, without traffic", up);
  add_build_options(*up_command, *arguments);
  CLI::App* run_command = add("run", "Build one, drive traffic, run a command beside it, take it down", run);
  add_build_options(*run_command, *arguments);
  run_command->add_option("--for", arguments->span, "How long traffic flows; with a command, how long it may take");
  run_command->add_option("command", arguments->command, "After --: a command to run while traffic flows");
  run_command->footer("Example: weir lab run tx-collapse-tap -- weir doctor --for 10s");
  CLI::App* down_command = add("down", "Remove what `up`, or a killed `run`, left behind", down);
  down_command->add_option("scenario", arguments->scenario, "Only if it is this scenario");
  add_prefix_option(*down_command, *arguments);
  down_command->add_flag("--all", arguments->all, "Under every prefix");
}

}  // namespace weir::cli
