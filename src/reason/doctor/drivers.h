// What network drivers do about choosing a transmit queue, where that differs from the core (netdev_pick_tx()).
#pragma once

#include <string>
#include <string_view>

#include "model/device.h"

namespace weir::reason {

/// How a driver's ndo_select_queue treats a recorded receive queue.
struct DriverChoice {
  bool recorded_first = false;  ///< takes it before XPS and hash are asked
  bool has_own_choice = true;   ///< has an ndo_select_queue at all, or is not known to have none
  bool wraps_core = false;      ///< its ndo_select_queue ends in netdev_pick_tx() for ordinary packets
  std::string why{};            ///< for people, with kernel commit or version; empty when there is nothing to say
  std::string remedy{};         ///< for people
};

/// By driver name (ethtool -i) and kernel release.
DriverChoice driver_choice(std::string_view driver, std::string_view kernel_release);

/// Kernel release "6.1.0-18-amd64" at or above major.minor; false for what does not parse.
bool kernel_at_least(std::string_view release, unsigned major, unsigned minor);

}  // namespace weir::reason
