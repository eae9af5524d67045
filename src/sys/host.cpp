#include "sys/host.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace weir::sys {

Result<std::string> hostname(const FileTree& root) {
  return root.text("proc/sys/kernel/hostname");
}

Result<std::string> kernel_release(const FileTree& root) {
  return root.text("proc/sys/kernel/osrelease");
}

Result<std::vector<std::uint32_t>> online_cpus(const FileTree& root) {
  return root.cpu_list("sys/devices/system/cpu/online");
}

Result<std::vector<std::vector<std::uint32_t>>> numa_cpus(const FileTree& root) {
  const std::string folder = "sys/devices/system/node";
  const auto names = root.directory(folder);
  std::vector<std::uint64_t> nodes;
  if (names) {
    for (const std::string& name : *names) {
      if (!name.starts_with("node")) continue;
      if (const auto number = parse_u64(name.substr(4))) nodes.push_back(*number);
    }
  }
  std::vector<std::vector<std::uint32_t>> cpus;
  if (nodes.empty()) {
    auto online = online_cpus(root);
    if (!online) return pass(std::move(online));
    cpus.push_back(std::move(*online));
    return cpus;
  }
  std::ranges::sort(nodes);
  for (const std::uint64_t node : nodes) {
    auto list = root.cpu_list(folder + "/node" + std::to_string(node) + "/cpulist");
    if (!list) return pass(std::move(list));
    cpus.push_back(std::move(*list));
  }
  return cpus;
}

}  // namespace weir::sys
