// What the subcommands of `weir flows` share: their options, which devices they are about, whose flows are, and the
// watch itself.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/result.h"
#include "cli/command.h"
#include "cli/session.h"
#include "model/device.h"
#include "model/flow.h"
#include "model/footprint_builder.h"
#include "observe/flows/connection_watch.h"
#include "observe/workloads/runtime_names.h"
#include "observe/workloads/workloads.h"
#include "sys/signal.h"

namespace weir::cli {

struct FlowOptions {
  ObserveOptions observe;
  std::uint32_t flows = 65536;
  std::size_t limit = 30;
  bool verbose = false;
  bool watch = false;
  bool connections = false;   ///< instead of the flows
  bool no_conntrack = false;  ///< leave the kernel's tables alone
  std::string from;           ///< a capture instead of this host
  bool pin = false;
  std::string pin_directory = "/run/weir/bpf";
  std::uint64_t elephant_bytes = model::ElephantPolicy{}.bytes;
  double elephant_mbps = model::ElephantPolicy{}.rate_bps / 1e6;
  std::string elephant_for = "100ms";
  std::string demote_after = "5s";
};
void add_flow_options(CLI::App& command, FlowOptions& options);
void add_pin_directory_option(CLI::App& command, std::string& directory);

/// Errc::usage when a duration in it is none.
Result<model::ElephantPolicy> elephant_policy(const FlowOptions& options);

/// Whose flows are, by what observe/workloads knows and the configuration that was read last.
class FlowOwners {
 public:
  Result<model::HostConfig> read_config();
  /// The socket's owner; else who lives in the namespace, or behind a device that leads to somebody; else the namespace
  /// itself, except the initial one, which is the host's.
  std::optional<model::WorkloadRef> of(std::uint64_t cgroup, const model::DeviceRef& device);
  /// Where the device of a flow stands, seen from the workload that of() gave it.
  model::FlowSide side(const model::Flow& flow);
  /// With its name, where the configuration that was read last has it.
  [[nodiscard]] model::DeviceRef device(std::uint64_t netns, std::uint32_t ifindex) const;

 private:
  [[nodiscard]] model::WorkloadRef named(model::WorkloadRef owner);
  observe::Workloads workloads_;
  std::unique_ptr<observe::RuntimeNames> names_ = std::make_unique<observe::RuntimeNames>();
  std::map<model::DeviceRef, model::DeviceConfig> devices_;
};

/// Which devices' flows are shown; every one without a word.
class FlowSelection {
 public:
  static Result<FlowSelection> of(const FlowOptions& options);
  [[nodiscard]] bool has(const model::DeviceRef& device) const { return !devices_ || devices_->contains(device); }
  /// Joined over all devices first: which flow counts does not depend on what is shown.
  void apply(observe::JoinedWindow& window) const;

 private:
  std::optional<std::set<model::DeviceRef>> devices_;
};

/// Starts to watch; `clock` must outlive the watch.
Result<observe::ConnectionWatch> start_flow_watch(const FlowOptions& options, const Clock& clock,
                                                  std::shared_ptr<FlowOwners> owners = std::make_shared<FlowOwners>());

/// Polls until `duration` is over or the user wants to stop.
Result<void> poll_flows(observe::ConnectionWatch& watch, std::optional<std::chrono::nanoseconds> duration,
                        const sys::StopSignal& stop, const observe::FlowWatch::EventVisitor& visit);

void add_flow_footprints(CLI::App& flows, Program& program);
void add_flow_unpin(CLI::App& flows, Program& program);

}  // namespace weir::cli
