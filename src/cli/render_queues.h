// Text of `weir queues show` and `weir queues explain`, for a person at a terminal.
#pragma once

#include <string>

#include "model/queues.h"

namespace weir::cli {

/// One device: a line of verdict, a row a queue, who chose, where the packets came from.
std::string render_device_queues(const model::HostConfig& config, const model::DeviceObservation& seen);

/// The same for a live view: what passes in a second, with a bar for each queue's share.
std::string render_device_rates(const model::HostConfig& config, const model::DeviceObservation& seen);

/// Where skb->queue_mapping of the packets bound for the device changed; says so when nothing set it.
std::string render_mapping_changes(const model::DeviceObservation& seen);

}  // namespace weir::cli
