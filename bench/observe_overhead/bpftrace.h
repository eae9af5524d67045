// The peer: the same histogram by bpftrace from Debian.
#pragma once

#include "base/result.h"
#include "sys/process.h"

namespace weir::bench {

/// Starts a bpftrace that counts packets by (device name, tx queue) at net:net_dev_start_xmit and by device name at
/// net:netif_receive_skb, and returns once it counts. It has a mount namespace of its own with tracefs in it, and ends
/// with the returned process. Errc::not_found when it is not installed, Errc::failed when it ends or is silent for 20
/// s.
Result<sys::Process> start_bpftrace();

}  // namespace weir::bench
