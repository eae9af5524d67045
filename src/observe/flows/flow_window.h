// A window of flows as the model has it. Pure: what was read goes in.
#pragma once

#include "model/device.h"
#include "model/flow.h"
#include "observe/flows/flow_table.h"
#include "observe/flows/flow_watch.h"
#include "observe/flows/interface_counters.h"

namespace weir::observe {

/// Names of devices by what the programs know of them.
class DeviceIndex {
 public:
  explicit DeviceIndex(const model::HostConfig& config);
  /// "ifN" in "id:N" for a device that is not there (any more).
  [[nodiscard]] model::DeviceRef name(std::uint64_t netns, std::uint32_t ifindex) const;
  /// Every namespace that has a device, once.
  [[nodiscard]] std::vector<model::NetnsRef> namespaces() const;

 private:
  std::map<std::pair<std::uint64_t, std::uint32_t>, model::DeviceRef> devices_;
  std::map<std::uint64_t, std::string> netns_;
};

struct WindowInput {
  const FlowTable& table;
  const FlowRequest& request;
  const DeviceIndex& devices;
  const InterfaceCounts& before;
  const InterfaceCounts& after;
  std::chrono::nanoseconds now;  ///< CLOCK_MONOTONIC
  std::chrono::nanoseconds duration;
};

/// Flows with a packet in the window, heaviest first, and the ledger by device. `start` of the window is left to the
/// caller.
model::FlowWindow build_window(const WindowInput& input);

}  // namespace weir::observe
