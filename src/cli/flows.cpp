// weir flows list|elephants|top: who sends how much to whom, exactly, and who is heavy.
#include "cli/flows.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>

#include "base/units.h"
#include "cli/live_view.h"
#include "cli/render_flows.h"
#include "cli/top_view.h"
#include "model/flow_json.h"
#include "model/json.h"
#include "observe/flows/capture.h"
#include "reason/doctor/accounting.h"
#include "sys/clock.h"
#include "sys/signal.h"

namespace weir::cli {

namespace {

void print_json(const observe::JoinedWindow& window, const FlowOptions& options, std::chrono::nanoseconds offset) {
  if (options.connections) {
    for (const model::Connection& one : window.connections) std::cout << connection_line(one, offset) << '\n';
  } else {
    for (const model::Flow& flow : window.flows.flows) std::cout << flow_line(flow, offset) << '\n';
  }
  for (const model::Finding& finding : reason::find_accounting_gaps(window.flows)) {
    std::cout << model::flow_finding_line(finding) << '\n';
  }
  std::cout << ledger_line(window.flows, &window.conntrack) << std::endl;
}

void print_window(const observe::JoinedWindow& window, const FlowOptions& options, std::chrono::nanoseconds offset) {
  if (options.observe.json) return print_json(window, options, offset);
  std::cout << (options.connections ? render_connections(window.connections, options.limit)
                                    : render_flows(window.flows, options.limit))
            << render_ledger(window.flows, options.verbose) << render_gaps(reason::find_accounting_gaps(window.flows));
  if (options.from.empty() && !options.no_conntrack) std::cout << render_conntrack(window.conntrack);
  std::cout << std::flush;
}

/// What could be read of a damaged file is printed before the error.
Result<Exit> list_capture(const FlowOptions& options) {
  const auto policy = elephant_policy(options);
  if (!policy) return std::unexpected(policy.error());
  if (!options.observe.device.empty() || !options.observe.netns.empty()) {
    return fail(Errc::usage, "--from reads a file: DEV and --netns choose devices of this host");
  }
  if (options.pin) return fail(Errc::usage, "--from reads a file: there is nothing to pin");
  observe::JoinedWindow window;
  auto read = observe::read_capture(options.from, *policy, window.flows);
  // One device saw them all: a connection is its two directions.
  window.connections = model::ConnectionJoiner().join(
      {.flows = window.flows.flows, .topology = model::Topology(), .conntrack = {}, .side = {}});
  // Captures tell the time of day.
  if (read || !window.flows.flows.empty()) print_window(window, options, {});
  if (!read) return pass(std::move(read));
  return Exit::done;
}

Result<Exit> list_flows(const FlowOptions& options) {
  if (!options.from.empty()) return list_capture(options);
  const auto duration = watch_duration(options.observe.duration);
  if (!duration) return std::unexpected(duration.error());
  const auto selection = FlowSelection::of(options);
  if (!selection) return std::unexpected(selection.error());
  const auto stop = sys::StopSignal::install();
  if (!stop) return std::unexpected(stop.error());
  const sys::SystemClock clock;
  auto watch = start_flow_watch(options, clock);
  if (!watch) return pass(std::move(watch));
  fmt::print(stderr, "watching for {}, Ctrl-C ends it earlier\n", format_duration(*duration));
  if (auto done = poll_flows(*watch, *duration, *stop, {}); !done) return pass(std::move(done));
  auto window = watch->window();
  if (!window) return pass(std::move(window));
  selection->apply(*window);
  print_window(*window, options, wall_clock_offset());
  return Exit::done;
}

Result<Exit> list_elephants(const FlowOptions& options) {
  const auto duration = watch_duration(options.observe.duration);
  if (!duration) return std::unexpected(duration.error());
  const auto selection = FlowSelection::of(options);
  if (!selection) return std::unexpected(selection.error());
  const auto stop = sys::StopSignal::install();
  if (!stop) return std::unexpected(stop.error());
  const sys::SystemClock clock;
  auto watch = start_flow_watch(options, clock);
  if (!watch) return pass(std::move(watch));
  const auto offset = wall_clock_offset();
  fmt::print(stderr, "watching{}\n", options.watch ? ", Ctrl-C ends it" : "");
  const auto tell = [&](const model::FlowEvent& event, const model::DeviceRef& device) {
    if (!selection->has(device)) return;
    if (options.observe.json)
      std::cout << flow_event_line(event, device, offset) << std::endl;
    else
      std::cout << render_flow_event(event, device, offset) << std::flush;
  };
  const auto length = options.watch ? std::nullopt : std::optional(*duration);
  if (auto done = poll_flows(*watch, length, *stop, options.watch ? tell : observe::FlowWatch::EventVisitor{}); !done) {
    return pass(std::move(done));
  }
  auto window = watch->window();
  if (!window) return pass(std::move(window));
  selection->apply(*window);
  std::vector<model::Flow>& flows = window->flows.flows;
  std::erase_if(flows, [](const model::Flow& flow) { return flow.flow_class != model::FlowClass::elephant; });
  if (options.observe.json) {
    print_json(*window, options, offset);
  } else if (!options.watch) {
    std::cout << (flows.empty() ? "no elephants\n" : render_flows(window->flows, options.limit)) << std::flush;
  }
  return Exit::done;
}

/// What the keys change shows at once; a window each `length`. While it is paused windows go on without being shown.
Result<Exit> top_loop(LiveView& view, observe::ConnectionWatch& watch, const FlowSelection& selection, TopState state,
                      std::chrono::nanoseconds length) {
  TopReader reader;
  TopWindow shown;
  auto due = std::chrono::steady_clock::now() + length;
  while (!state.quit) {
    const auto woken = view.next(due - std::chrono::steady_clock::now());
    if (woken.ended) break;
    state.press(woken.keys);
    if (std::chrono::steady_clock::now() >= due) {
      due = std::chrono::steady_clock::now() + length;
      if (auto polled = watch.poll(std::chrono::milliseconds(0), {}); !polled) return pass(std::move(polled));
      auto window = watch.window();
      if (!window) return pass(std::move(window));
      selection.apply(*window);
      TopWindow next = reader.read(window->flows, window->connections);
      if (!state.paused) shown = std::move(next);
    }
    if (shown.time.empty()) continue;  // the first one is not over
    const LiveView::Size size = LiveView::size();
    const std::string footer = render_top_keys(state, size.columns);
    const auto below = static_cast<std::size_t>(std::ranges::count(footer, '\n')) + 1;
    view.show(render_top(shown, state, size.rows > below ? size.rows - below : 0), footer);
  }
  return Exit::done;
}

Result<Exit> top_flows(const FlowOptions& options) {
  const auto duration = watch_duration(options.observe.duration);
  if (!duration) return std::unexpected(duration.error());
  const auto selection = FlowSelection::of(options);
  if (!selection) return std::unexpected(selection.error());
  const sys::SystemClock clock;
  if (isatty(STDOUT_FILENO) != 1) {
    return fail(Errc::usage, "weir flows top shows a live view, and this is no terminal", "weir flows list --json");
  }
  TopState state;
  // Of devices that somebody asked for, all that they carry.
  state.every_device = !options.observe.device.empty() || !options.observe.netns.empty();
  auto view = LiveView::open();
  if (!view) return pass(std::move(view));
  view->show("watching ...\n", render_top_keys(state, LiveView::size().columns));
  auto watch = start_flow_watch(options, clock);
  if (!watch) return pass(std::move(watch));
  return top_loop(*view, *watch, *selection, state, *duration);
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
  list_command->add_flag("--connections", list->connections,
                         "Connections instead of flows: both directions, on all devices, each byte once");
  add_word_option(*list_command, "--from", list->from, "The flows of a capture file (pcap, pcapng) instead")
      ->type_name("FILE");
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

  add_flow_footprints(*flows, program);
  add_flow_unpin(*flows, program);
}

}  // namespace weir::cli
