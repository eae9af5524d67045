// Who holds the other side of a TAP or TUN device: the process that has /dev/net/tun open for it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/namespaces.h"

namespace weir::observe {

/// A device that is held, and by whom.
struct HeldTap {
  std::uint64_t netns = 0;    ///< where the device is now, not where it was made
  std::uint32_t ifindex = 0;  ///< 0: could not be told
  std::string name;
  pid_t pid = 0;
  model::WorkloadRef workload;
};

/// Looks through the descriptors of all processes. A device that several hold (queues of a VM, a monitor that passed
/// its descriptor on) is listed once, with the VM if one of them is. Devices that nobody holds (persistent ones) are
/// not here. `taps` of processes that may not be looked into are missing.
std::vector<HeldTap> find_held_taps();

/// The workload of the program behind a TAP: a VM by the name in its command line or its cgroup; the container, pod or
/// service that it is part of; else the process. Empty `name` when the process is gone.
model::WorkloadRef workload_behind_tap(pid_t pid);

/// The device in the fdinfo of an open /dev/net/tun ("iff:\tNAME", Linux 3.14); empty when it is attached to none.
std::string_view tap_of_fdinfo(std::string_view fdinfo);

}  // namespace weir::observe
