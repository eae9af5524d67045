// Reads the configuration of devices: of this machine, of several of its namespaces, or of a recorded machine.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/device.h"
#include "netns/netns.h"
#include "sys/file_tree.h"

namespace weir::observe {

/// What to read.
struct ConfigOptions {
  /// Namespaces as netns::Netns::open() takes them; "all" for every one that list() finds; none for the thread's own.
  std::vector<std::string> namespaces;
  /// Names of devices; none for all. In no namespace a device of that name: Errc::not_found, with the nearest names.
  std::vector<std::string> devices;
};

/// The host and its devices, namespace by namespace in the order of list(), devices by ifindex. Errors are for what the
/// caller named and for a host that cannot be read at all; anything else that is missing stands in an `unread`.
/// Namespaces and devices that vanish meanwhile are left out, and named there too.
Result<model::HostConfig> read_host(const ConfigOptions& options = {});

/// The devices of one held namespace. `entry` names it; the ends of its veth pairs are looked for in `everywhere`
/// (list(); may be empty: then only ends in the same namespace resolve). What concerns the namespace as a whole and
/// could not be read is appended to `unread`.
Result<std::vector<model::DeviceConfig>> read_namespace(const netns::Netns& ns, const model::NetnsRef& ref,
                                                        const std::vector<std::string>& devices,
                                                        const std::vector<netns::Entry>& everywhere,
                                                        std::vector<std::string>* unread);

/// A recorded machine: what /proc and /sys below `root` say, without netlink. All devices belong to "init".
Result<model::HostConfig> read_recorded(const sys::FileTree& root);

}  // namespace weir::observe
