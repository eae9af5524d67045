// When the mitigation must not be installed. Private to steer/queues.
#pragma once

#include <optional>
#include <vector>

#include "model/finding.h"
#include "model/plan.h"
#include "model/queues.h"
#include "steer/queues/plan_queue_fix.h"

namespace weir::steer {

/// The device cannot be helped by this, or needs no help: no packets, one queue, healthy, another cause.
std::optional<model::Refusal> refuse_cause(const model::HostObservation& observation,
                                           const std::vector<model::Finding>& findings,
                                           const model::DeviceConfig& device);

/// queue_mapping is used on purpose on the device, so clearing it there would break something.
std::optional<model::Refusal> refuse_on_purpose(const model::DeviceConfig& device);

/// The hook of the device cannot take the filter: ours is there, or no preference is left.
std::optional<model::Refusal> refuse_hook(const model::DeviceConfig& device, TcHook hook);

/// The finding about a device's transmit queues, if there is one.
const model::Finding* tx_finding(const std::vector<model::Finding>& findings, const model::DeviceRef& device);

}  // namespace weir::steer
