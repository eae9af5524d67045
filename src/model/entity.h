// Entities: the things that have identity and metrics (DESIGN section 1), as far as host networking names them.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "base/strong_id.h"
#include "base/text.h"

namespace weir::model {

/// A network namespace. `id` is NS_GET_ID (Linux 6.18) or SO_NETNS_COOKIE (5.14), unique for one boot and equal to what
/// BPF reads from struct net; `name` is for people: its name, "init" for the initial one, else "id:N".
struct NetnsRef {
  std::uint64_t id = 0;
  std::string name;
  friend auto operator<=>(const NetnsRef& a, const NetnsRef& b) { return a.id <=> b.id; }
  friend bool operator==(const NetnsRef& a, const NetnsRef& b) { return a.id == b.id; }
};

/// A network device. Identity is (namespace, ifindex); names may change, and repeat between namespaces.
/// ifindex 0 stands for "this host itself": packets that no device received.
struct DeviceRef {
  NetnsRef netns;
  IfIndex ifindex;
  std::string name;
  friend auto operator<=>(const DeviceRef& a, const DeviceRef& b) {
    if (const auto by_netns = a.netns <=> b.netns; by_netns != 0) return by_netns;
    return a.ifindex <=> b.ifindex;
  }
  friend bool operator==(const DeviceRef& a, const DeviceRef& b) { return (a <=> b) == 0; }
};

/// "netns/dev" as every command accepts it.
inline std::string to_string(const DeviceRef& device) {
  return printable(device.netns.name + "/" + device.name);
}

/// What kind of thing a finding or an edge speaks of; the names are those of the JSON documents.
enum class EntityKind : std::uint8_t { host, cpu, nic, dev, queue, qdisc, netns, workload, flow, listener, peer };
const char* to_string(EntityKind kind);

}  // namespace weir::model
