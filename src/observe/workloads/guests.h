// Virtual machines by the command lines of the programs that run them. Pure: no OS.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weir::observe {

/// A virtual machine as its monitor was told of it.
struct Guest {
  std::string name;     ///< the guest's name, else its id
  std::string id;       ///< UUID or the monitor's own id, else empty
  std::string monitor;  ///< "qemu", "firecracker", "cloud-hypervisor", "crosvm"
  bool operator==(const Guest&) const = default;
};

/// What a command line (words end with NUL, as in /proc/PID/cmdline) says of a guest; nullopt when the program is no
/// monitor of virtual machines that is known here, or it was given neither a name nor an id.
std::optional<Guest> guest_of_command(std::string_view cmdline);

}  // namespace weir::observe
