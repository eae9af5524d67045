// Watches the flows of this host: the data plane, its table, and the interfaces' own counters beside it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/device.h"
#include "model/flow.h"
#include "observe/flows/flow_table.h"
#include "observe/flows/interface_counters.h"

namespace weir::observe {

/// What to watch. The functions keep this module apart from the ones that read configuration and know workloads.
struct FlowRequest {
  std::uint32_t flows = 65536;  ///< that are kept exactly
  model::ElephantPolicy elephants{};
  FlowRetirement retirement{};
  std::string btf_path;
  /// Of DataPlane::Options; the window of the last owner goes on.
  std::string pin_directory;
  /// Devices that may be named, of every namespace; called at the start and with each window.
  std::function<Result<model::HostConfig>()> read_config;
  /// The interfaces' own counters of these namespaces.
  std::function<InterfaceCounts(const std::vector<model::NetnsRef>&)> read_counters = [](const auto& namespaces) {
    return read_interface_counters(namespaces);
  };
  /// Whose a flow is, by the cgroup of its socket (0: unknown) and its device; may be empty.
  std::function<std::optional<model::WorkloadRef>(std::uint64_t cgroup, const model::DeviceRef& device)> workload;
};

class FlowWatch {
 public:
  /// Errors as DataPlane::start(). `clock` must outlive the watch. The first window begins, or
  /// that of the pinned data plane's last owner goes on.
  static Result<FlowWatch> start(FlowRequest request, const Clock& clock);
  FlowWatch(FlowWatch&&) noexcept;
  FlowWatch& operator=(FlowWatch&&) noexcept;
  ~FlowWatch();

  /// How the data plane came to this watch; nothing when it is not pinned.
  [[nodiscard]] const std::optional<PinNews>& pin() const;

  using EventVisitor = std::function<void(const model::FlowEvent& event, const model::DeviceRef& device)>;
  /// Waits for promotions and demotions, at most so long; returns as soon as there were some. To be called often:
  /// silent flows are looked at, and taken out, once a second from here.
  Result<void> poll(std::chrono::milliseconds timeout, const EventVisitor& visit);
  /// Flows whose promotion was told and whose end was not.
  [[nodiscard]] const std::set<model::FlowKey>& elephants() const;
  /// Tells the end of these: somebody knows that their connection is over.
  Result<void> tell_end(const std::set<model::FlowKey>& ended, const EventVisitor& visit);
  /// Ends the window and begins the next: every flow with a packet in it, and the ledger of every device.
  Result<model::FlowWindow> window();

 private:
  struct Parts;
  explicit FlowWatch(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace weir::observe
