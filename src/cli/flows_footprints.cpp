// weir flows footprints: what the traffic of each workload is like.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "base/units.h"
#include "cli/flows.h"
#include "cli/render_footprints.h"
#include "model/footprint_builder.h"
#include "model/footprint_json.h"
#include "model/millisecond_bursts.h"
#include "model/nearest_device.h"
#include "observe/flows/burst_watch.h"
#include "sys/clock.h"

namespace weir::cli {

namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kShortestInterval = std::chrono::milliseconds(100);
constexpr nanoseconds kLongestInterval = std::chrono::minutes(1);
constexpr const char* kBurstRun = "2s";

struct FootprintOptions {
  FlowOptions flows;
  std::string interval = "1s";
  bool bursts = false;
};

using Bursts = std::map<model::FootprintKey, model::MillisecondBursts>;

/// Of each workload and direction: at the device that is nearest to it, of equally near ones the busiest.
Bursts bursts_of_workloads(const observe::BurstReading& reading, FlowOwners& owners, const FlowSelection& selection) {
  Bursts all;
  std::map<model::FootprintKey, model::FlowSide> sides;
  for (const observe::BurstSeries& series : reading.series) {
    const model::DeviceRef device = owners.device(series.netns, series.ifindex);
    if (!selection.has(device)) continue;
    model::Flow packets;
    packets.key = {
        .netns = series.netns, .ifindex = series.ifindex, .direction = series.direction, .vlan = 0, .tuple = {}};
    packets.device = device;
    packets.workload = owners.of(0, device);
    const model::FlowSide side = owners.side(packets);
    if (!packets.workload || side == model::FlowSide::passing) continue;
    const model::FootprintKey key{.kind = packets.workload->kind,
                                  .name = packets.workload->name,
                                  .id = packets.workload->id,
                                  .image = {},
                                  .direction = direction_of(packets, side)};
    model::MillisecondBursts bursts = model::millisecond_bursts(series.bins);
    bursts.device = device;
    const auto [known, first] = all.try_emplace(key, bursts);
    model::FlowSide& best = sides.try_emplace(key, side).first->second;
    if (first || side > best || (side == best && bursts.bytes <= known->second.bytes)) continue;
    best = side;
    known->second = bursts;
  }
  return all;
}

Result<nanoseconds> run_length(const FootprintOptions& options) {
  auto duration = watch_duration(options.flows.observe.duration);
  if (duration && options.bursts && *duration > observe::BurstWatch::kLongest) {
    return fail(Errc::usage, "--bursts: a run of at most 4s", "weir flows footprints --bursts --for 2s");
  }
  return duration;
}

/// Feeds a window an interval until the time is over or the user wants to stop.
Result<void> learn(const FootprintOptions& options, model::FootprintBuilder& builder,
                   const std::shared_ptr<FlowOwners>& owners, Bursts& bursts) {
  const auto duration = run_length(options);
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
  std::optional<observe::BurstWatch> milliseconds;
  if (options.bursts) {
    auto started = observe::BurstWatch::start(options.flows.observe.btf_path, clock);
    if (!started) return pass(std::move(started));
    milliseconds.emplace(*std::move(started));
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
  if (!milliseconds) return {};
  const observe::BurstReading reading = milliseconds->read();
  if (reading.unplaced_bytes != 0) {
    fmt::print(stderr, "bursts: more devices than there was room for, {}B of them are in no line\n",
               format_count(static_cast<double>(reading.unplaced_bytes)));
  }
  bursts = bursts_of_workloads(reading, *owners, *selection);
  return {};
}

Result<Exit> show_footprints(const FootprintOptions& options) {
  const auto owners = std::make_shared<FlowOwners>();
  model::FootprintBuilder builder({.side = [owners](const model::Flow& flow) { return owners->side(flow); },
                                   .image = [](const model::WorkloadRef& workload) { return workload.image; }});
  Bursts bursts;
  if (auto learnt = learn(options, builder, owners, bursts); !learnt) return pass(std::move(learnt));
  auto footprints = builder.footprints();
  for (model::WorkloadFootprint& one : footprints) {
    if (const auto known = bursts.find(one.key); known != bursts.end()) one.bursts = known->second;
  }
  if (options.flows.observe.json) {
    for (const model::WorkloadFootprint& one : footprints) std::cout << footprint_line(one) << '\n';
    std::cout << std::flush;
  } else if (options.bursts) {
    std::cout << render_bursts(footprints, options.flows.limit) << std::flush;
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
  command->add_flag("--bursts", options->bursts, "A run of --for (2s, at most 4s) in which every millisecond is seen");
  const CLI::Option* length = command->get_option("--for");
  command->callback([options, length, &program] {
    if (options->bursts && length->empty()) options->flows.observe.duration = kBurstRun;
    program.action = [options] { return show_footprints(*options); };
  });
}

}  // namespace weir::cli
