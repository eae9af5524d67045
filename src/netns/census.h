// The census: every network namespace of the host, however it is held, who lives in it, and what is inside.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "netns/netns.h"
#include "netns/workload.h"

namespace weir::netns {

/// A process (or a thread) and the name it goes by (/proc/PID/comm).
struct Member {
  pid_t pid = 0;
  std::string comm;
};

/// A descriptor that holds a namespace: one of the namespace itself, or a socket made inside.
struct HoldingFd {
  pid_t pid = 0;
  int fd = -1;
  bool socket = false;
};

/// A time from which on the namespace is known to have existed. The kernel does not record when it was made.
struct Since {
  enum class Source : std::uint8_t {
    mount,    ///< when the file that is mounted came to be: shortly after the namespace, for one that is named at once
    process,  ///< when the oldest process in it started; it may have been elsewhere then
  };
  std::chrono::sys_time<std::chrono::nanoseconds> time;
  Source source = Source::mount;
};

/// A namespace as the census found it.
struct Resident {
  std::uint64_t id = 0;
  std::uint64_t inode = 0;  ///< for matching with lsns(8) and ls -l /proc/PID/ns; repeats, so it identifies nothing
  bool initial = false;
  std::vector<std::string> names;   ///< under /run/netns, sorted
  std::vector<std::string> mounts;  ///< where else it is mounted, sorted; "pid:N:/path" in another mount namespace
  std::vector<pid_t> pids;          ///< processes that live in it, sorted
  std::vector<Member> processes;    ///< the first few of them by name
  std::vector<Member> threads;      ///< threads that live in it while their process lives elsewhere
  std::vector<HoldingFd> holders;   ///< descriptors, only looked for by a deep census; the first few
  /// Whose traffic it carries: owner_of_shared() of its processes, else the one process from which the others
  /// descend. The initial namespace is nobody's.
  std::optional<Workload> workload;
  std::optional<std::vector<std::string>> devices;  ///< by ifindex; nullopt when it could not be entered
  std::optional<std::uint64_t> sockets;             ///< sockets of every family that exist in it
  std::optional<Since> since;

  /// Its name, "init", or "id:N".
  [[nodiscard]] std::string display() const;
};

struct CensusOptions {
  /// Look through the descriptors of every process as well, sockets included, for namespaces that nothing else holds.
  bool deep = false;
  /// Sockets of other processes that a deep census looks at, at most; one is a dup (pidfd_getfd) and a getsockopt.
  std::size_t max_sockets = 100'000;
  /// Whether to enter each namespace for its devices and sockets.
  bool look_inside = true;
};

/// What the census could not tell.
struct CensusGaps {
  std::vector<std::string> unreadable;  ///< one line each: what could not be looked at, and why
  std::vector<std::string> hidden;      ///< mounts of namespaces that another mount covers: nobody can open them there
};

struct Census {
  std::vector<Resident> residents;  ///< init first, then by display name
  CensusGaps gaps;
};

/// Looks at the whole host as this process sees it (its PID and mount namespace). What vanishes meanwhile is left out.
/// Runs on a thread of its own: the caller's namespace does not change.
Result<Census> take_census(const CensusOptions& options = {});

/// Opens a namespace of the census; Errc::not_found when it is gone or what held it now holds another one.
Result<Netns> open(const Resident& resident);

}  // namespace weir::netns
