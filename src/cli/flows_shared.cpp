#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "cli/device_argument.h"
#include "cli/flows.h"

namespace weir::cli {

namespace {

constexpr std::chrono::milliseconds kLookEvery{100};
constexpr std::uint32_t kFewestFlows = 16;
constexpr std::uint32_t kMostFlows = 4U << 20U;

bool same_owner(const model::WorkloadRef* one, const model::WorkloadRef& other) {
  if (one == nullptr) return false;
  // Names may have come from a runtime since.
  return (one->kind == other.kind && one->id == other.id && (!other.id.empty() || one->name == other.name)) ||
         (!one->pod.empty() && one->pod == other.pod);
}

}  // namespace

Result<model::ElephantPolicy> elephant_policy(const FlowOptions& options) {
  const auto sustained = duration_option(options.elephant_for, "--sustained");
  if (!sustained) return std::unexpected(sustained.error());
  const auto demote = duration_option(options.demote_after, "--demote-after");
  if (!demote) return std::unexpected(demote.error());
  return model::ElephantPolicy{.bytes = options.elephant_bytes,
                               .rate_bps = options.elephant_mbps * 1e6,
                               .sustained = *sustained,
                               .demote_after = *demote};
}

Result<model::HostConfig> FlowOwners::read_config() {
  auto config = read_host_config();
  if (!config) return config;
  devices_.clear();
  for (const model::DeviceConfig& device : config->devices) devices_.emplace(device.ref, device);
  return config;
}

model::WorkloadRef FlowOwners::named(model::WorkloadRef owner) {
  if (auto known = names_->of(owner)) {
    owner.name = std::move(known->name);
    owner.image = std::move(known->image);
  }
  return owner;
}

std::optional<model::WorkloadRef> FlowOwners::of(std::uint64_t cgroup, const model::DeviceRef& device) {
  if (const model::WorkloadRef* owner = workloads_.of(cgroup, device.netns.id)) return named(*owner);
  const auto known = devices_.find(device);
  if (known != devices_.end()) {
    if (const model::WorkloadRef* owner = workloads_.behind(known->second)) return named(*owner);
  }
  if (device.netns.name == "init") return std::nullopt;
  model::WorkloadRef self;
  self.kind = "namespace";
  self.name = device.netns.name;
  self.id = std::to_string(device.netns.id);
  return self;
}

model::FlowSide FlowOwners::side(const model::Flow& flow) {
  if (!flow.workload) return model::FlowSide::passing;
  const model::WorkloadRef& owner = *flow.workload;
  const std::uint64_t netns = flow.device.netns.id;
  if (owner.kind == "namespace") return model::FlowSide::inside;
  if (same_owner(workloads_.of(0, netns), owner)) return model::FlowSide::inside;
  const auto known = devices_.find(flow.device);
  const bool leads = known != devices_.end() && same_owner(workloads_.behind(known->second), owner);
  return leads ? model::FlowSide::port : model::FlowSide::passing;
}

model::DeviceRef FlowOwners::device(std::uint64_t netns, std::uint32_t ifindex) const {
  const model::DeviceRef nameless{
      .netns = {netns, fmt::format("id:{}", netns)}, .ifindex = IfIndex{ifindex}, .name = fmt::format("if{}", ifindex)};
  const auto known = devices_.find(nameless);
  return known == devices_.end() ? nameless : known->first;
}

Result<FlowSelection> FlowSelection::of(const FlowOptions& options) {
  FlowSelection selection;
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

void FlowSelection::apply(observe::JoinedWindow& window) const {
  const auto hidden = [this](const model::DeviceRef& device) { return !has(device); };
  std::erase_if(window.flows.flows, [&](const model::Flow& flow) { return hidden(flow.device); });
  std::erase_if(window.flows.ledger.lines, [&](const model::LedgerLine& line) { return hidden(line.device); });
  std::erase_if(window.connections,
                [&](const model::Connection& one) { return std::ranges::all_of(one.path, hidden); });
}

Result<observe::ConnectionWatch> start_flow_watch(const FlowOptions& options, const Clock& clock,
                                                  std::shared_ptr<FlowOwners> owners) {
  if (auto possible = require_data_plane(options.observe.btf_path); !possible) return pass(std::move(possible));
  const auto policy = elephant_policy(options);
  if (!policy) return std::unexpected(policy.error());
  observe::ConnectionRequest connections;
  connections.conntrack = !options.no_conntrack;
  connections.side = [owners](const model::Flow& flow) { return owners->side(flow); };
  observe::FlowRequest& request = connections.flows;
  request.flows = options.flows;
  request.elephants = *policy;
  request.btf_path = options.observe.btf_path;
  request.read_config = [owners] { return owners->read_config(); };
  request.workload = [owners](std::uint64_t cgroup, const model::DeviceRef& device) {
    return owners->of(cgroup, device);
  };
  if (options.pin) request.pin_directory = options.pin_directory;
  auto watch = observe::ConnectionWatch::start(std::move(connections), clock);
  if (!watch && watch.error().code == Errc::busy) {
    watch.error().hint = "without --pin, weir flows counts beside it";
  }
  if (!watch) return watch;
  const auto& pin = watch->flow_watch().pin();
  if (pin && !pin->lost.empty()) fmt::print(stderr, "pins: {}\n", pin->lost);
  return watch;
}

Result<void> poll_flows(observe::ConnectionWatch& watch, std::optional<std::chrono::nanoseconds> duration,
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

void add_pin_directory_option(CLI::App& command, std::string& directory) {
  add_word_option(command, "--pin-directory", directory,
                  "Where the pins are; a BPF file system is made when there is none")
      ->type_name("DIR")
      ->capture_default_str();
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
  command.add_flag("--pin", options.pin,
                   "Count on when this command ends, and go on with what was counted (weir flows unpin ends that)");
  add_pin_directory_option(command, options.pin_directory);
  command.add_flag("--no-conntrack", options.no_conntrack,
                   "Leave the kernel's tables of connections alone: translations are known from packets only");
  add_btf_option(command, options.observe.btf_path);
}

}  // namespace weir::cli
