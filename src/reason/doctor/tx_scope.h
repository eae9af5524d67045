// Which devices the doctor judges as transmitters: those whose choice of queue is felt.
#pragma once

#include <optional>
#include <vector>

#include "model/queues.h"

namespace weir::reason {

/// Devices with several transmit queues where the choice is felt: hardware, devices with queues behind a qdisc, and the
/// last visible end of a veth pair. Never loopback, bridges, other devices stacked without a queue, tun (its choice
/// follows the guest's own), hops (below), devices that vanished or whose configuration is unknown.
std::vector<const model::DeviceObservation*> judged_transmitters(const model::HostObservation& host);

/// The other end of a veth pair, by the configuration of either end.
std::optional<model::DeviceRef> peer_of(const model::HostConfig& host, const model::DeviceRef& device);

}  // namespace weir::reason
