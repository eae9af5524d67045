// What is attached to a device beside qdiscs: tcx programs and AF_XDP sockets.
#pragma once

#include <vector>

#include "model/device.h"
#include "netns/netns.h"

namespace weir::observe::config {

/// Fills `tcx` of the devices, which all live in `ns`. A kernel without tcx (before 6.6) has none.
void read_tcx(const netns::Netns& ns, std::vector<model::DeviceConfig>& devices);

/// Fills `has_xsk`. Where sockets exist but the kernel does not say on which device (no xdp_diag), every device of the
/// namespace notes that in its `unread`.
void read_xsk(const netns::Netns& ns, std::vector<model::DeviceConfig>& devices);

}  // namespace weir::observe::config
