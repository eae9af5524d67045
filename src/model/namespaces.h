// The network namespaces of a host and who lives in them, as `weir netns` tells it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weir::model {

/// A process and the name it goes by.
struct ProcessRef {
  pid_t pid = 0;
  std::string comm;
};

/// Whose traffic something is. `kind` is "container", "pod", "vm", "service", "session" or "process".
struct WorkloadRef {
  std::string kind;
  std::string name;
  std::string id;
  std::string pod;      ///< uid of the pod that it is part of; empty: none
  std::string runtime;  ///< "docker", "containerd", "libvirt", …; empty: not known
  std::string image{};  ///< that a container was made of; empty: nobody who knows was asked
  bool operator==(const WorkloadRef&) const = default;
};

/// A descriptor of a process that keeps a namespace alive.
struct HolderRef {
  pid_t pid = 0;
  int fd = -1;
  std::string kind;  ///< "namespace" or "socket"
};

/// One namespace.
struct NamespaceState {
  std::uint64_t id = 0;
  std::uint64_t inode = 0;
  std::string display;  ///< its name, "init", or "id:N"
  std::vector<std::string> names;
  std::vector<std::string> mounts;
  std::vector<pid_t> pids;
  std::vector<ProcessRef> processes;  ///< the first few of `pids`
  std::vector<ProcessRef> threads;
  std::vector<HolderRef> holders;
  std::optional<WorkloadRef> workload;
  std::optional<std::vector<std::string>> devices;  ///< nullopt: could not be looked at
  std::optional<std::uint64_t> sockets;
  std::optional<std::chrono::sys_time<std::chrono::nanoseconds>> since;
  std::string since_source;  ///< "mount" or "process", empty without `since`
};

/// All of them, and what could not be told.
struct NamespaceList {
  std::string boot_id;
  std::vector<NamespaceState> namespaces;
  std::vector<std::string> unreadable;
  std::vector<std::string> hidden;
};

/// A name that came, went or changed. `kind` is "ready", "gone", "renamed" or "resync".
struct NamespaceEvent {
  std::string kind;
  std::chrono::sys_time<std::chrono::nanoseconds> time;
  std::uint64_t id = 0;
  std::string name;
  std::vector<std::string> names;
  bool existing = false;  ///< it was there when the watching began
};

}  // namespace weir::model
