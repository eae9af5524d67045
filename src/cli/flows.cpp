// weir flows list|elephants|top: who sends how much to whom, exactly, and who is heavy.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/units.h"
#include "cli/command.h"
#include "cli/device_argument.h"
#include "cli/live_view.h"
#include "cli/render_flows.h"
#include "cli/session.h"
#include "model/flow_json.h"
#include "observe/flows/flow_watch.h"
#include "observe/workloads/workloads.h"
#include "sys/clock.h"
#include "sys/signal.h"

namespace weir::cli {

namespace {

constexpr std::chrono::milliseconds kLookEvery{100};
constexpr std::uint32_t kFewestFlows = 16;
constexpr std::uint32_t kMostFlows = 4U << 20U;

struct FlowOptions {
  ObserveOptions observe;
  std::uint32_t flows = 65536;
  std::size_t limit = 30;
  bool verbose = false;
  bool watch = false;
  std::uint64_t elephant_bytes = model::ElephantPolicy{}.bytes;
  double elephant_mbps = model::ElephantPolicy{}.rate_bps / 1e6;
  std::string elephant_for = "100ms";
  std::string demote_after = "5s";
};

std::chrono::nanoseconds offset_of(const Clock& clock) {
  return clock.realtime().time_since_epoch() - clock.monotonic();
}

Result<std::chrono::nanoseconds> span_of(const std::string& text, const char* option) {
  const auto span = parse_duration(text);
  if (!span) return std::unexpected(Error(span.error()).with_context(option));
  return *span;
}

Result<model::ElephantPolicy> policy_of(const FlowOptions& options) {
  const auto sustained = span_of(options.elephant_for, "--sustained");
  if (!sustained) return std::unexpected(sustained.error());
  const auto demote = span_of(options.demote_after, "--demote-after");
  if (!demote) return std::unexpected(demote.error());
  return model::ElephantPolicy{.bytes = options.elephant_bytes,
                               .rate_bps = options.elephant_mbps * 1e6,
                               .sustained = *sustained,
                               .demote_after = *demote};
}

/// Whose flows are, by what observe/workloads knows and the configuration that was read last.
class FlowOwners {
 public:
  Result<model::HostConfig> read_config() {
    auto config = read_host_config();
    if (!config) return config;
    devices_.clear();
    for (const model::DeviceConfig& device : config->devices) devices_.emplace(device.ref, device);
    return config;
  }

  /// The socket's owner; else who lives in the namespace, or behind a device that leads to somebody; else the namespace
  /// itself, except the initial one, which is the host's.
  std::optional<model::WorkloadRef> of(std::uint64_t cgroup, const model::DeviceRef& device) {
    if (const model::WorkloadRef* owner = workloads_.of(cgroup, device.netns.id)) return *owner;
    const auto known = devices_.find(device);
    if (known != devices_.end()) {
      if (const model::WorkloadRef* owner = workloads_.behind(known->second)) return *owner;
    }
    if (device.netns.name == "init") return std::nullopt;
    model::WorkloadRef self;
    self.kind = "namespace";
    self.name = device.netns.name;
    self.id = std::to_string(device.netns.id);
    return self;
  }

 private:
  observe::Workloads workloads_;
  std::map<model::DeviceRef, model::DeviceConfig> devices_;
};

/// Which devices' flows are shown; every one without a word.
class Selection {
 public:
  static Result<Selection> of(const FlowOptions& options) {
    Selection selection;
    if (options.observe.device.empty() && (options.observe.netns.empty() || options.observe.netns == "all")) {
      return selection;
    }
    const auto config = read_host_config();
    if (!config) return std::unexpected(config.error());
    auto devices = find_devices(*config, options.observe.device, options.observe.netns);
    if (!devices) return pass(std::move(devices));
    selection.devices_ = std::set(devices->begin(), devices->end());
    return selection;
  }
  [[nodiscard]] bool has(const model::DeviceRef& device) const { return !devices_ || devices_->contains(device); }
  void apply(model::FlowWindow& window) const {
    std::erase_if(window.flows, [&](const model::Flow& flow) { return !has(flow.device); });
    std::erase_if(window.ledger.lines, [&](const model::LedgerLine& line) { return !has(line.device); });
  }

 private:
  std::optional<std::set<model::DeviceRef>> devices_;
};

Result<observe::FlowWatch> start_watch(const FlowOptions& options, const Clock& clock) {
  if (auto possible = require_data_plane(options.observe.btf_path); !possible) return pass(std::move(possible));
  const auto policy = policy_of(options);
  if (!policy) return std::unexpected(policy.error());
  observe::FlowRequest request;
  request.flows = options.flows;
  request.elephants = *policy;
  request.btf_path = options.observe.btf_path;
  const auto owners = std::make_shared<FlowOwners>();
  request.read_config = [owners] { return owners->read_config(); };
  request.workload = [owners](std::uint64_t cgroup, const model::DeviceRef& device) {
    return owners->of(cgroup, device);
  };
  return observe::FlowWatch::start(std::move(request), clock);
}

/// Polls until `duration` is over or the user wants to stop.
Result<void> poll_for(observe::FlowWatch& watch, std::optional<std::chrono::nanoseconds> duration,
                      const sys::StopSignal& stop, const observe::FlowWatch::EventVisitor& visit) {
  const auto begin = std::chrono::steady_clock::now();
  while (!stop.requested() && std::cout) {
    std::chrono::milliseconds wait = kLookEvery;
    if (duration) {
      const auto left = *duration - (std::chrono::steady_clock::now() - begin);
      if (left <= std::chrono::nanoseconds::zero()) return {};
      wait = std::min(wait, std::chrono::ceil<std::chrono::milliseconds>(left));
    }
    if (auto polled = watch.poll(wait, visit); !polled) return polled;
  }
  return {};
}

Result<Exit> list_flows(const FlowOptions& options) {
  const auto duration = span_of(options.observe.duration, "--for");
  if (!duration) return std::unexpected(duration.error());
  const auto selection = Selection::of(options);
  if (!selection) return std::unexpected(selection.error());
  const auto stop = sys::StopSignal::install();
  if (!stop) return std::unexpected(stop.error());
  const sys::SystemClock clock;
  auto watch = start_watch(options, clock);
  if (!watch) return pass(std::move(watch));
  if (auto done = poll_for(*watch, *duration, *stop, {}); !done) return pass(std::move(done));
  auto window = watch->window();
  if (!window) return pass(std::move(window));
  selection->apply(*window);
  if (options.observe.json) {
    const auto offset = offset_of(clock);
    for (const model::Flow& flow : window->flows) std::cout << flow_line(flow, offset) << '\n';
    std::cout << ledger_line(*window) << std::endl;
    return Exit::done;
  }
  std::cout << render_flows(*window, options.limit) << render_ledger(*window, options.verbose) << std::flush;
  return Exit::done;
}

Result<Exit> list_elephants(const FlowOptions& options) {
  const auto duration = span_of(options.observe.duration, "--for");
  if (!duration) return std::unexpected(duration.error());
  const auto selection = Selection::of(options);
  if (!selection) return std::unexpected(selection.error());
  const auto stop = sys::StopSignal::install();
  if (!stop) return std::unexpected(stop.error());
  const sys::SystemClock clock;
  auto watch = start_watch(options, clock);
  if (!watch) return pass(std::move(watch));
  const auto offset = offset_of(clock);
  if (!options.observe.json) fmt::print(stderr, "watching{}\n", options.watch ? ", Ctrl-C ends it" : "");
  const auto tell = [&](const model::FlowEvent& event, const model::DeviceRef& device) {
    if (!selection->has(device)) return;
    if (options.observe.json)
      std::cout << flow_event_line(event, device, offset) << std::endl;
    else
      std::cout << render_flow_event(event, device, offset) << std::flush;
  };
  const auto length = options.watch ? std::nullopt : std::optional(*duration);
  if (auto done = poll_for(*watch, length, *stop, options.watch ? tell : observe::FlowWatch::EventVisitor{}); !done) {
    return pass(std::move(done));
  }
  auto window = watch->window();
  if (!window) return pass(std::move(window));
  selection->apply(*window);
  std::erase_if(window->flows, [](const model::Flow& flow) { return flow.flow_class != model::FlowClass::elephant; });
  if (options.observe.json) {
    for (const model::Flow& flow : window->flows) std::cout << flow_line(flow, offset) << '\n';
    std::cout << ledger_line(*window) << std::endl;
  } else if (!options.watch) {
    std::cout << (window->flows.empty() ? "no elephants\n" : render_flows(*window, options.limit)) << std::flush;
  }
  return Exit::done;
}

std::string top_screen(const model::FlowWindow& window, const FlowOptions& options) {
  const std::string time = format_utc(window.start + window.duration).substr(11, 8);
  return fmt::format("weir flows   {} UTC, the last {}, {} flows   (q ends it)\n\n", time,
                     format_duration(window.duration), window.flows.size()) +
         render_flows(window, options.limit) + '\n' + render_ledger(window, false);
}

Result<Exit> top_flows(const FlowOptions& options) {
  const auto duration = span_of(options.observe.duration, "--for");
  if (!duration) return std::unexpected(duration.error());
  const auto selection = Selection::of(options);
  if (!selection) return std::unexpected(selection.error());
  const sys::SystemClock clock;
  std::optional<LiveView> view;
  if (isatty(STDOUT_FILENO) != 1) {
    return fail(Errc::usage, "weir flows top shows a live view, and this is no terminal", "weir flows list --json");
  }
  auto opened = LiveView::open();
  if (!opened) return pass(std::move(opened));
  view.emplace(*std::move(opened));
  view->show("watching ...\n");
  auto watch = start_watch(options, clock);
  if (!watch) return pass(std::move(watch));
  while (view->wait(*duration)) {
    if (auto polled = watch->poll(std::chrono::milliseconds(0), {}); !polled) return pass(std::move(polled));
    auto window = watch->window();
    if (!window) return pass(std::move(window));
    selection->apply(*window);
    view->show(top_screen(*window, options));
  }
  return Exit::done;
}

void add_flow_options(CLI::App& command, FlowOptions& options) {
  add_word_option(command, "DEV", options.observe.device, "dev or netns/dev; all devices without it");
  add_word_option(command, "--netns", options.observe.netns, "Namespace (name, path, pid:N, id:N) or all");
  command.add_option("--for", options.observe.duration, "How long to watch (500ms, 10s, 5m)")
      ->default_str(options.observe.duration);
  command.add_option("--flows", options.flows, "Flows that are kept exactly")
      ->check(CLI::Range(kFewestFlows, kMostFlows))
      ->capture_default_str();
  command.add_option("--limit", options.limit, "Rows of text")->check(CLI::Range(1, 100'000))->capture_default_str();
  command.add_option("--bytes", options.elephant_bytes, "An elephant has at least so many bytes")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 50U))
      ->capture_default_str();
  command.add_option("--rate", options.elephant_mbps, "and at least this rate, in Mbit/s")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  command.add_option("--sustained", options.elephant_for, "for at least so long")->default_str(options.elephant_for);
  command.add_option("--demote-after", options.demote_after, "until it has been below half of that for so long")
      ->default_str(options.demote_after);
  add_btf_option(command, options.observe.btf_path);
}

}  // namespace

void add_flows(CLI::App& app, Program& program) {
  CLI::App* flows = app.add_subcommand("flows", "Who sends how much to whom, and who is heavy");
  flows->require_subcommand(1);

  auto list = std::make_shared<FlowOptions>();
  CLI::App* list_command = flows->add_subcommand("list", "Flows of a window, heaviest first, and the ledger");
  add_flow_options(*list_command, *list);
  add_json_option(*list_command, list->observe.json);
  list_command->add_flag("-v,--verbose", list->verbose, "The ledger of every device");
  list_command->callback([list, &program] { program.action = [list] { return list_flows(*list); }; });

  auto elephants = std::make_shared<FlowOptions>();
  CLI::App* elephants_command = flows->add_subcommand("elephants", "Heavy flows, as they become so");
  add_flow_options(*elephants_command, *elephants);
  add_json_option(*elephants_command, elephants->observe.json);
  elephants_command->add_flag("--watch", elephants->watch, "Each promotion, demotion and end as it happens");
  elephants_command->callback(
      [elephants, &program] { program.action = [elephants] { return list_elephants(*elephants); }; });

  auto top = std::make_shared<FlowOptions>();
  top->observe.duration = "1s";
  CLI::App* top_command = flows->add_subcommand("top", "A live view, each --for long");
  add_flow_options(*top_command, *top);
  top_command->callback([top, &program] { program.action = [top] { return top_flows(*top); }; });
}

}  // namespace weir::cli
