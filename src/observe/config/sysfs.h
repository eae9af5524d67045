// What sysfs says of a device: queues and the maps from CPUs to them.
#pragma once

#include <string>
#include <vector>

#include "model/device.h"
#include "netns/netns.h"
#include "sys/file_tree.h"

namespace weir::observe::config {

/// The sysfs that shows the devices of `ns`, whichever is mounted on /sys. It is mounted nowhere (fsmount(2), Linux
/// 5.2) and goes away with the last copy.
Result<sys::FileTree> sysfs_of(const netns::Netns& ns);

/// Fills real queue counts, XPS, RPS and (when still empty) traffic classes from class/net/NAME/queues below `sysfs`.
/// Errc::not_found when there is no such device; other troubles go to device.unread.
Result<void> read_queues(const sys::FileTree& sysfs, model::DeviceConfig& device);

/// A device as far as sysfs alone knows it: ifindex, flags, mtu, driver, bus address, master, queues.
Result<model::DeviceConfig> read_device(const sys::FileTree& sysfs, const std::string& name);

/// The names of the devices below `sysfs`.
Result<std::vector<std::string>> device_names(const sys::FileTree& sysfs);

}  // namespace weir::observe::config
