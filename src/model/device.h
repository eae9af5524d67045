// The configuration of a network device, as far as it decides about queues. Filled by observe/config, read by
// reasoners.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/entity.h"

namespace weir::model {

/// One qdisc of a device, as RTM_GETQDISC gives it.
struct Qdisc {
  std::string kind;          ///< "mq", "fq_codel", "noqueue", "clsact", "tbf", …
  std::uint32_t handle = 0;  ///< major << 16 | minor
  std::uint32_t parent = 0;  ///< TC_H_ROOT for the root, TC_H_CLSACT for clsact
  bool operator==(const Qdisc&) const = default;
};

/// One tc filter of a device (legacy clsact/ingress; programs attached by tcx stand in `tcx`).
struct TcFilter {
  enum class Hook : std::uint8_t { ingress, egress, root };
  Hook hook = Hook::ingress;
  std::string kind;            ///< "bpf", "u32", "flower", "matchall", …
  std::uint32_t priority = 0;  ///< "pref" of tc(8)
  std::uint16_t protocol = 0;  ///< ETH_P_*, host order
  std::uint32_t handle = 0;
  std::string name;                  ///< TCA_BPF_NAME, empty for other kinds
  std::uint32_t program_id = 0;      ///< TCA_BPF_ID
  std::string program_tag;           ///< TCA_BPF_TAG, 16 hex digits
  std::vector<std::string> actions;  ///< kinds of actions: "skbedit", "mirred", …
  bool operator==(const TcFilter&) const = default;
};

/// A BPF program attached through tcx (Linux 6.6).
struct TcxProgram {
  TcFilter::Hook hook = TcFilter::Hook::ingress;
  std::uint32_t program_id = 0;
  std::string name;
  bool operator==(const TcxProgram&) const = default;
};

/// How the priority of a packet picks a traffic class, and a class a range of queues (mqprio, netdev_set_num_tc).
struct TrafficClass {
  std::uint32_t offset = 0;
  std::uint32_t count = 0;
  bool operator==(const TrafficClass&) const = default;
};

/// A network device and what on it decides about queues. Fields that could not be read are empty or nullopt;
/// `unread` says which and why, so that a verdict can name what it did not know.
struct DeviceConfig {
  DeviceRef ref;
  std::string link_kind;  ///< IFLA_INFO_KIND: "veth", "tun", "bridge", "vxlan", …; empty for a hardware NIC
  std::string driver;     ///< ethtool driver name: "ena", "mlx5_core", "virtio_net", "tun", "veth"
  std::string bus_info;   ///< PCI address; empty when the device is virtual
  bool up = false;
  bool loopback = false;
  std::uint32_t mtu = 0;
  std::uint32_t master = 0;         ///< ifindex of bridge/bond it belongs to, 0 for none
  std::string master_kind;          ///< "bridge", "bond", "team", "openvswitch"
  std::optional<DeviceRef> peer;    ///< the other end of a veth pair, where it could be resolved
  std::optional<DeviceRef> lower;   ///< the device below a vlan, macvlan or vxlan
  std::uint16_t vlan_id = 0;        ///< of a vlan device: the tag of its packets on `lower`
  std::uint32_t num_tx_queues = 1;  ///< allocated
  std::uint32_t num_rx_queues = 1;
  std::uint32_t real_tx_queues = 1;  ///< in use: /sys/class/net/DEV/queues/tx-*
  std::uint32_t real_rx_queues = 1;
  std::uint32_t max_combined_channels = 0;  ///< ethtool -l, 0 when the driver does not say
  std::uint32_t combined_channels = 0;
  /// XPS: for each tx queue the CPUs that use it (xps_cpus) and the rx queues (xps_rxqs). Empty: no map.
  std::vector<std::vector<std::uint32_t>> xps_cpus;
  std::vector<std::vector<std::uint32_t>> xps_rxqs;
  /// RPS: for each rx queue the CPUs that process its packets. Empty inner list: RPS off.
  std::vector<std::vector<std::uint32_t>> rps_cpus;
  std::vector<TrafficClass> traffic_classes;  ///< empty: no traffic classes (num_tc 0)
  std::vector<std::uint8_t> prio_to_class;    ///< skb->priority & 15 → class
  std::vector<Qdisc> qdiscs;
  std::vector<TcFilter> filters;
  std::vector<TcxProgram> tcx;
  std::uint32_t xdp_program_id = 0;
  bool has_xsk = false;             ///< an AF_XDP socket is bound to one of its queues
  std::vector<std::string> unread;  ///< "xps_cpus: Permission denied"

  [[nodiscard]] bool has_xps() const;
  /// The root qdisc's kind; "noqueue" when the device has no queueing at all.
  [[nodiscard]] std::string root_qdisc() const;
};

/// A host: what a verdict needs besides its devices.
struct HostConfig {
  std::string hostname;
  std::string kernel;  ///< uname -r
  std::uint32_t online_cpus = 1;
  std::vector<std::vector<std::uint32_t>> numa_cpus;  ///< CPUs of each NUMA node
  std::vector<DeviceConfig> devices;                  ///< of every namespace that was looked at
  std::vector<std::string> unread;                    ///< namespaces that could not be entered, and why

  [[nodiscard]] const DeviceConfig* find(const DeviceRef& ref) const;
};

}  // namespace weir::model
