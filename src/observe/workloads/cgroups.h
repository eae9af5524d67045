// Cgroups by the ids that sockets carry: the way from a number in an event to a path that says whose it is.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "netns/workload.h"
#include "sys/fd.h"

namespace weir::observe {

/// What a mountinfo file (proc_pid_mountinfo(5)) says of control groups.
struct CgroupMounts {
  std::string unified;  ///< where cgroup v2 is mounted, its whole tree if there is a choice; empty: nowhere
  bool legacy = false;  ///< there are hierarchies of v1, in which containers may stand and nowhere else
};
CgroupMounts parse_cgroup_mounts(std::string_view mountinfo);

/// The tree of cgroup v2. An id is that of a directory's kernfs node: what bpf_skb_cgroup_id() gives, on 64-bit
/// machines the inode number, never given twice during one boot.
class Cgroups {
 public:
  /// The tree as this mount namespace has it, else (where cgroup v2 is in use) through a mount that nobody else sees
  /// and that ends with this object.
  static Cgroups open();

  /// The path of a cgroup from the root of what is mounted. Errc::not_found when it is gone; Errc::busy when the tree
  /// would have to be walked again so soon after the last time; other errors say why none can be told.
  Result<std::string> path(std::uint64_t id);

  /// Whose the cgroup is; nobody for the root. Where v1 is in use too and the path names no container, its processes
  /// are asked in which v1 cgroups they are. Errors as path().
  Result<std::optional<netns::Workload>> workload(std::uint64_t id);

 private:
  Result<std::string> path_by_handle(std::uint64_t id) const;
  Result<std::string> path_by_walk(std::uint64_t id);
  void walk(const sys::Fd& directory, const std::string& path);
  /// The processes directly in a cgroup.
  [[nodiscard]] std::vector<pid_t> processes(const std::string& path) const;
  sys::Fd root_;
  bool legacy_ = false;
  bool by_handle_ = true;
  std::unordered_map<std::uint64_t, std::string> walked_;
  std::chrono::steady_clock::time_point walked_at_;
};

/// The workload of a process by its cgroups alone.
std::optional<netns::Workload> workload_of_process(pid_t pid);

}  // namespace weir::observe
