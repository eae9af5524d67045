// SIOCETHTOOL: who drives a device, and its channels.
#pragma once

#include "model/device.h"
#include "sys/fd.h"

namespace weir::observe::config {

/// Fills driver, bus_info and channels. `socket` is any socket of the device's namespace. What a driver does not offer
/// stays empty; other troubles go to device.unread.
void read_ethtool(const sys::Fd& socket, model::DeviceConfig& device);

}  // namespace weir::observe::config
