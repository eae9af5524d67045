// Facts about the machine as a whole.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/file_tree.h"

namespace weir::sys {

/// uname -n.
Result<std::string> hostname(const FileTree& root);
/// uname -r.
Result<std::string> kernel_release(const FileTree& root);
/// CPUs that are online, ascending.
Result<std::vector<std::uint32_t>> online_cpus(const FileTree& root);
/// The CPUs of each NUMA node, in the order of the nodes; nodes without CPUs are empty. A kernel without NUMA has one.
Result<std::vector<std::vector<std::uint32_t>>> numa_cpus(const FileTree& root);

}  // namespace weir::sys
