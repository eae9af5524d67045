// Inside netns only: who tells the registry that something changed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace weir::netns::detail {

/// The id of the mount that a descriptor was opened through, unique for one boot (Linux 6.8); 0 where there is none.
std::uint64_t unique_mount_id(int fd);

/// The id, as mountinfo has it, of the mount that shows at a path; 0 where there is none.
std::uint64_t visible_mount_id(const std::string& path);

/// Mounts that come and go in the mount namespace of the thread that opened this (fanotify, Linux 6.15).
class MountEvents {
 public:
  static Result<MountEvents> open();
  [[nodiscard]] int fd() const { return fd_.get(); }

  struct Event {
    bool attached = false;
    std::uint64_t mount_id = 0;
  };
  /// Takes what is there; false when the kernel dropped events.
  Result<bool> drain(const std::function<void(const Event&)>& take);

 private:
  explicit MountEvents(sys::Fd fd) : fd_(std::move(fd)) {}
  sys::Fd fd_;
};

/// A mount that exists.
struct MountFacts {
  std::string point;
  bool is_netns = false;
};
/// statmount(2); nothing when the mount is gone or cannot be reached from here.
std::optional<MountFacts> mount_facts(std::uint64_t mount_id);

/// Entries that come and go in directories that need not exist yet (inotify).
class DirectoryWatch {
 public:
  static Result<DirectoryWatch> open(const std::vector<std::string>& directories);
  [[nodiscard]] int fd() const { return fd_.get(); }

  struct Drained {
    std::set<std::string> paths;  ///< entries that changed
    bool disturbed = false;       ///< a directory itself may have changed: rearm()
    bool lost = false;            ///< the kernel dropped events
  };
  Result<Drained> drain();
  /// Watches what stands at the directories' paths now. The directories behind whose path there is another file, or
  /// another mount, than at the last call.
  Result<std::vector<std::string>> rearm();

 private:
  /// Which file stands at a path, through which mount.
  using Stamp = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>;
  struct Place {
    std::optional<Stamp> stamp;
    int watch = -1;
  };
  struct Role {
    std::string directory;  ///< empty when only an ancestor of one
    bool ancestor = false;
  };
  explicit DirectoryWatch(sys::Fd fd) : fd_(std::move(fd)) {}
  Result<bool> rearm_one(const std::string& directory, Place& place);
  Result<void> watch_ancestor(const std::string& directory);
  static std::optional<Stamp> stamp_of(const std::string& directory);

  sys::Fd fd_;
  std::map<std::string, Place> places_;
  std::map<int, Role> roles_;
};

}  // namespace weir::netns::detail
