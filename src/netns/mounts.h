// Inside netns only: the bind mounts that hold network namespaces, as mountinfo tells them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weir::netns::detail {

/// A mount of a network namespace.
struct NsMount {
  std::uint64_t mount_id = 0;  ///< of mountinfo: repeats once the mount is gone
  std::uint64_t inode = 0;     ///< of the namespace file; does not change while the mount holds it
  std::string point;
  bool operator==(const NsMount&) const = default;
};

/// The mounts of network namespaces in the text of a mountinfo file (proc_pid_mountinfo(5)), in its order. Lines that
/// are cut short are left out.
std::vector<NsMount> parse_ns_mounts(std::string_view mountinfo);

/// The same of a file: /proc/self/mountinfo is this mount namespace.
Result<std::vector<NsMount>> read_ns_mounts(const std::string& path);

/// The whole of a file of /proc, in as few reads as it takes: mountinfo is made up anew for each.
Result<std::string> read_proc_file(const std::string& path);

}  // namespace weir::netns::detail
