// Watches the queues of this host for a span of time: data plane always, path follower where a device looks suspicious.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "model/queues.h"
#include "observe/dataplane/dataplane.h"

namespace weir::observe {

/// What to watch and for how long. The functions keep this module apart from the ones that read configuration, judge
/// suspicion and own signals; the command line joins them.
struct ObserveRequest {
  std::chrono::nanoseconds duration = std::chrono::seconds(10);
  int windows = 3;                 ///< verdicts want agreement between windows
  std::uint32_t sample_rate = 16;  ///< see DataPlane::Options
  std::string btf_path;
  /// Reads the configuration of every device that may be named; called at the start and at the end.
  std::function<Result<model::HostConfig>()> read_config;
  /// Devices to report on; those with no packet and one queue are left out unless `keep_idle`.
  std::function<bool(const model::DeviceConfig&)> wanted;
  bool keep_idle = false;
  /// Whether a device's window is worth following its packets' path; null: never follow.
  std::function<bool(const model::DeviceConfig&, const model::QueueWindow&)> suspicious;
  /// Follow from the start instead of after a scouting window of a quarter of the duration.
  bool follow_at_once = false;
  /// Waits; false when the user wants to stop (what was seen so far is returned).
  std::function<bool(std::chrono::nanoseconds)> wait;
};

/// Watches, then returns what was seen. A device that went away meanwhile is marked `vanished`.
Result<model::HostObservation> observe(const ObserveRequest& request, const Clock& clock);

/// The same in steps, for live views: one data plane, as many windows as wanted. `request` and `clock` must outlive it.
class QueueWatch {
 public:
  static Result<QueueWatch> start(const ObserveRequest& request, const Clock& clock);
  /// Waits for one window and returns it; `interrupted` tells that the user wants to stop.
  Result<model::HostObservation> next(std::chrono::nanoseconds window, bool& interrupted);
  QueueWatch(QueueWatch&&) noexcept;
  QueueWatch& operator=(QueueWatch&&) noexcept;
  ~QueueWatch();

 private:
  friend Result<model::HostObservation> observe(const ObserveRequest& request, const Clock& clock);
  struct Parts;
  explicit QueueWatch(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace weir::observe
