// Reads the data plane's queue maps and turns their cumulative counters into windows.
#pragma once

#include <cstdint>
#include <map>

#include "base/result.h"
#include "model/queues.h"
#include "observe/dataplane/dataplane.h"

namespace weir::observe {

/// A device as BPF names it.
struct DeviceKey {
  std::uint64_t netns = 0;
  std::uint32_t ifindex = 0;
  auto operator<=>(const DeviceKey&) const = default;
};

/// Cumulative counters of one device since the data plane started.
struct DeviceTotals {
  std::map<std::uint32_t, model::QueueCount> tx;  ///< by queue
  std::map<std::uint32_t, model::QueueCount> rx;
  struct Choice {
    std::uint32_t origin_ifindex = 0;
    std::uint32_t queue = 0;
    std::uint32_t rule = WEIR_RULE_UNEXPLAINED;  ///< enum weir_queue_rule, with the two that queue_window() resolves
    auto operator<=>(const Choice&) const = default;
  };
  std::map<Choice, std::uint64_t> choices;
  std::map<std::uint32_t, std::uint64_t> flows;  ///< sampled packets by flow hash
  std::map<std::uint32_t, std::uint64_t> cpus;   ///< sampled packets by CPU
};

struct QueueTotals {
  std::map<DeviceKey, DeviceTotals> devices;
  model::Accounting accounting;
  std::uint64_t flow_lost = 0;
};

/// Everything the data plane counted so far, for every namespace.
Result<QueueTotals> read_queue_totals(const DataPlane& data_plane);

/// What happened on one device between two reads. Names of origins come from `config`; an origin that is not in it is
/// called "ifN". Queues without packets get zero rows up to the number in use. A device that is in `before` only has no
/// window.
model::QueueWindow queue_window(const DeviceKey& device, const QueueTotals& before, const QueueTotals& after,
                                std::chrono::nanoseconds duration, std::uint32_t sample_rate,
                                const model::HostConfig& config);

/// The device's name from `config`, or "ifN" (and the namespace as "id:N") when it is not there (any more).
model::DeviceRef name_device(const DeviceKey& device, const model::HostConfig& config);

}  // namespace weir::observe
