// Where on the path queue_mapping changed, in words.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/queues.h"

namespace weir::reason {

/// The change that recorded a queue in packets of `origin` bound for `seen`: most packets first, nothing when the path
/// was not followed or no change was seen.
std::optional<model::MappingChange> recording_change(const model::HostConfig& host,
                                                     const model::DeviceObservation& seen,
                                                     const model::DeviceRef& origin);

/// Routed packets that came in by a port of a bridge are accounted to the bridge. The ports that the path shows behind
/// `origin`, with their shares of its recorded packets (sum 1); empty when `origin` is no bridge or nothing was seen.
std::vector<std::pair<model::DeviceRef, double>> bridge_ports(const model::HostConfig& host,
                                                              const model::DeviceObservation& seen,
                                                              const model::DeviceRef& origin);

/// "between A and B on netns/dev": the narrowest interval known in which packets of `origin` got their recorded queue.
/// Without a followed path, the interval between reception and the choice of the queue on `seen`.
std::string changed_at(const model::HostConfig& host, const model::DeviceObservation& seen,
                       const model::DeviceRef& origin);

}  // namespace weir::reason
