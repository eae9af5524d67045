// DEV as every command takes it: `dev` or `netns/dev`, with or without --netns.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/device.h"

namespace weir::cli {

/// The devices that the words mean. `spec` is "dev", "netns/dev" or empty (all); `netns` is "", "all" or a namespace by
/// name, path, pid:N or id:N. A bare name is looked for in the caller's namespace first, then in all; when several have
/// it, the error names them. Errc::usage with the nearest names when there is no such device or namespace.
Result<std::vector<model::DeviceRef>> find_devices(const model::HostConfig& config, const std::string& spec,
                                                   const std::string& netns);

/// find_devices() for a command that takes exactly one.
Result<model::DeviceRef> find_device(const model::HostConfig& config, const std::string& spec,
                                     const std::string& netns);

}  // namespace weir::cli
