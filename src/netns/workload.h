// Whose processes a cgroup holds, told from its path alone: what each container runtime and systemd call theirs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weir::netns {

/// Who runs in a namespace or owns a socket. Everything but `name` may be empty where nothing tells it.
struct Workload {
  enum class Kind : std::uint8_t {
    container,  ///< of a runtime, systemd-nspawn or LXC
    pod,        ///< containers of Kubernetes or podman that share a namespace
    vm,         ///< a virtual machine
    service,    ///< a unit of systemd that is none of the above
    session,    ///< a login: says whose hands, not what runs
    process,    ///< a process by itself
  };
  Kind kind = Kind::process;
  std::string name;     ///< "docker-1a2b3c4d5e6f", "pod-UID", "nginx.service", the comm of a process
  std::string id;       ///< 64 hex digits, a pod's uid, the name of the machine or unit, the process id
  std::string pod;      ///< uid of the pod that it is part of
  std::string runtime;  ///< "docker", "containerd", "cri-o", "podman", "lxc", "systemd-nspawn", "libvirt", "systemd"
  bool operator==(const Workload&) const = default;

  /// A container, a pod or a VM: something with walls around it, whatever else is said of its processes.
  [[nodiscard]] bool walled() const { return kind <= Kind::vm; }
};

/// The word of the JSON documents: "container", "pod", "vm", "service", "session", "process".
const char* to_string(Workload::Kind kind);

/// The workload that a cgroup path speaks of: the part after the second colon of a line of /proc/PID/cgroup, of cgroup
/// v2 or of any v1 hierarchy. The innermost container or VM, else the innermost pod, else the innermost unit of
/// systemd; nullopt for the root, slices, init.scope and paths that no known program makes. Monitors of containers
/// (conmon, lxc.monitor) are not the container. Sources: the runtimes' own cgroup drivers, systemd.unit(5).
std::optional<Workload> workload_of_cgroup(std::string_view path);

/// The workload that the text of a /proc/PID/cgroup file speaks of, and of its lines the one that says most: on a host
/// with cgroup v1 the container stands in some of its hierarchies only.
std::optional<Workload> workload_of_cgroup_file(std::string_view text);

/// To whom belongs what several share: the pod when all walled ones are of one pod, the one walled workload when there
/// is no other, else nobody. Only without walled ones count services, in the same way. Processes and sessions never
/// do: those who only visit a container's namespace do not take it away.
std::optional<Workload> owner_of_shared(std::span<const Workload> residents);

}  // namespace weir::netns
