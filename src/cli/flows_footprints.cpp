// weir flows footprints: what the traffic of each workload is like.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "base/units.h"
#include "cli/flows.h"
#include "cli/render_footprints.h"
#include "model/footprint_builder.h"
#include "model/footprint_json.h"
#include "sys/clock.h"

namespace weir::cli {

namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kShortestInterval = std::chrono::milliseconds(100);
constexpr nanoseconds kLongestInterval = std::chrono::minutes(1);

struct FootprintOptions {
  FlowOptions flows;
  std::string interval = "1s";
};

/// Feeds a window an interval until the time is over or the user wants to stop.
Result<void> learn(const FootprintOptions& options, model::FootprintBuilder& builder,
                   const std::shared_ptr<FlowOwners>& owners) {
  const auto duration = watch_duration(options.flows.observe.duration);
  if (!duration) return std::unexpected(duration.error());
  const auto interval = duration_option(options.interval, "--interval");
  if (!interval) return std::unexpected(interval.error());
  if (*interval < kShortestInterval || *interval > kLongestInterval) {
    return fail(Errc::usage, "--interval: must be between 100ms and 1m", "1s is a good start");
  }
  const auto selection = FlowSelection::of(options.flows);
  if (!selection) return std::unexpected(selection.error());
  const auto stop = sys::StopSignal::install();
  if (!stop) return std::unexpected(stop.error());
  const sys::SystemClock clock;
  auto watch = start_flow_watch(options.flows, clock, owners);
  if (!watch) return pass(std::move(watch));
  if (!options.flows.observe.json) {
    fmt::print(stderr, "watching for {}, Ctrl-C ends it earlier\n", format_duration(*duration));
  }
  const nanoseconds begin = clock.monotonic();
  while (!stop->requested()) {
    const nanoseconds left = *duration - (clock.monotonic() - begin);
    if (left <= nanoseconds::zero()) break;
    if (auto polled = poll_flows(*watch, std::min(left, *interval), *stop, {}); !polled) return polled;
    auto window = watch->window();
    if (!window) return pass(std::move(window));
    selection->apply(*window);
    builder.feed(window->flows);
  }
  return {};
}

Result<Exit> show_footprints(const FootprintOptions& options) {
  const auto owners = std::make_shared<FlowOwners>();
  model::FootprintBuilder builder(
      {.side = [owners](const model::Flow& flow) { return owners->side(flow); }, .image = {}});
  if (auto learnt = learn(options, builder, owners); !learnt) return pass(std::move(learnt));
  auto footprints = builder.footprints();
  if (options.flows.observe.json) {
    for (const model::WorkloadFootprint& one : footprints) std::cout << footprint_line(one) << '\n';
    std::cout << std::flush;
  } else {
    std::cout << render_footprints(std::move(footprints), options.flows.limit) << std::flush;
  }
  return Exit::done;
}

}  // namespace

void add_flow_footprints(CLI::App& flows, Program& program) {
  auto options = std::make_shared<FootprintOptions>();
  CLI::App* command = flows.add_subcommand("footprints", "What each workload's traffic is like, and its class");
  add_flow_options(*command, options->flows);
  add_json_option(*command, options->flows.observe.json);
  command->add_option("--interval", options->interval, "A sample each so often; nothing shorter is seen")
      ->default_str(options->interval);
  command->callback([options, &program] { program.action = [options] { return show_footprints(*options); }; });
}

}  // namespace weir::cli
