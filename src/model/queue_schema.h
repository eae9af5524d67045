// The metrics of queues and of the devices that own them.
#pragma once

#include <array>

#include "model/schema.h"

namespace weir::model {

inline constexpr std::array kQueueColumns{
    Column{"queue", Type::u64, Unit::queue_number, Kind::key, "Number of the queue, from 0"},
    Column{"packets", Type::u64, Unit::packets, Kind::counter,
           "Socket buffers handed to the driver (tx) or to the stack (rx) on this queue"},
    Column{"bytes", Type::u64, Unit::bytes, Kind::counter, "Their length including the link-layer header"},
    Column{"wire_packets", Type::u64, Unit::packets, Kind::counter,
           "Packets on the wire: a GSO or GRO buffer counts once for each of its segments"},
};
inline constexpr Table kQueueTable{"queue", "queue", "One row a device, direction and queue", kQueueColumns};

inline constexpr std::array kDeviceQueueColumns{
    Column{"tx_effective_queues", Type::f64, Unit::queues, Kind::gauge,
           "1 / sum of the squared shares of the tx queues: how many equally used queues the load is worth"},
    Column{"tx_real_queues", Type::u64, Unit::queues, Kind::gauge, "Transmit queues in use (real_num_tx_queues)"},
    Column{"rx_real_queues", Type::u64, Unit::queues, Kind::gauge, "Receive queues in use (real_num_rx_queues)"},
    Column{"duration_ns", Type::u64, Unit::nanoseconds, Kind::gauge, "Span that the row is about"},
    Column{"sampled_packets", Type::u64, Unit::packets, Kind::counter,
           "Transmitted packets that were examined for who chose their queue"},
};
inline constexpr Table kDeviceQueueTable{"device_queues", "nic", "One row a device and window", kDeviceQueueColumns};

}  // namespace weir::model
