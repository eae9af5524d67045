// A lab on paper: everything that has to be made, as data. Scenarios draw it, build.h makes it real.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "lab/options.h"

namespace weir::lab {

/// A namespace and what is to be done in it, in this order. Every line is one command of the tool's batch mode.
struct NamespacePlan {
  std::string role;  ///< "pod", "pod2", "host", "wire"
  std::string name;
  std::vector<std::string> links;        ///< ip(8): devices (all namespaces do this first)
  std::vector<std::string> ip;           ///< ip(8): addresses, routes, neighbours
  std::vector<std::string> bridge;       ///< bridge(8)
  std::vector<std::string> tc;           ///< tc(8)
  std::vector<std::string> early_shell;  ///< sh, before any device exists: defaults of the namespace
  std::vector<std::string> shell;        ///< sh with /sys and /proc/sys of the namespace: XPS, forwarding, nft
};

/// A device worth telling the reader about.
struct DevicePlan {
  std::string netns;
  std::string dev;
  std::string role;  ///< "uplink", "wire", "workload", "port", "tap", "bridge", "tunnel"
  unsigned tx_queues = 1;
};

/// A BPF program at the tc ingress of a device that writes skb->queue_mapping.
struct Injection {
  std::string netns;
  std::string dev;
  std::uint32_t queue_mapping = 0;
};

enum class TrafficKind : std::uint8_t {
  udp_flows,
  tcp_bulk,
  tcp_sink,
  tap_frames,
  udp_echo,
  request_response,
  udp_sink,
  udp_stalled,   ///< has a tiny receive buffer and never reads
  tcp_stalled,   ///< has a short queue of connections and never accepts
  tcp_connects,  ///< opens `pps` connections a second and lets the oldest go
};

/// One generator or sink: a process of its own inside `netns`.
struct TrafficPlan {
  TrafficKind kind = TrafficKind::udp_flows;
  std::string netns{};
  std::string label{};  ///< who sends, for reports: "pod", "host", "tap0"
  std::vector<std::string> destinations{};
  unsigned flows = 1;
  std::uint64_t pps = 0;  ///< 0: as fast as the path takes it (tcp_bulk only)
  unsigned payload_bytes = 200;
  std::optional<unsigned> cpu{};  ///< pinned to this CPU
  std::string tap{};              ///< tap_frames: the device whose queues it serves
  unsigned tap_queues = 1;
  std::string
      source{};  ///< tap_frames: address of the pretended guest; udp_flows: to bind to, empty: the kernel's choice
  std::string source_mac{};
  std::string destination_mac{};
  L4 l4 = L4::udp;             ///< tap_frames: what the frames carry
  std::uint16_t port = 0;      ///< to send to, or to receive at; 0: the one that is usual for the kind
  bool dont_fragment = false;  ///< udp_flows: with DF, and deaf to what the network says of its MTU
};

/// What a correct diagnosis says, for machines. Empty `findings`: nothing is to be found.
struct Expectation {
  std::vector<std::string> findings;  ///< acceptable finding ids, the best one first
  std::vector<std::string> causes;    ///< acceptable causes, the best one first
  std::string subject;                ///< "netns/dev" of the device with the symptom
  std::string culprit;                ///< "netns/dev"; empty: no device is to blame
  /// Share of each tx queue of the subject that the kernel's rules lead to; empty where the flows' hashes decide.
  std::vector<double> tx_shares;
};

/// How packets of one kind end before they arrive.
struct ExpectedDrop {
  std::string netns{};  ///< where
  /// Acceptable drop reasons of the kernel, without SKB_DROP_REASON_. Empty: the kernel frees the packet as one that
  /// has done its duty (consume_skb), and only its own counters call it a drop.
  std::vector<std::string> reasons{};
  std::string rule_comment{};  ///< of the nftables rule that decides; empty: no rule does
  std::string finding{};       ///< id of the finding that names the fault; empty: this is no fault
  std::string cause{};         ///< of the finding
};

/// What following one kind of packet must show, for machines.
struct ExpectedJourney {
  std::string name;         ///< "echo", "vip", "dropped": unique in its scenario
  std::string from;         ///< namespace where these packets begin
  std::string source;       ///< address that they begin with
  std::string destination;  ///< address that they are sent to
  std::string protocol;     ///< "udp", "tcp", "icmp"
  std::uint16_t port = 0;   ///< that they are sent to; 0: none
  /// "netns/dev" of each device that hands the packet on, in order, as far as it comes.
  std::vector<std::string> path;
  std::string source_at_end;       ///< address that arrives; empty: nothing rewrites it
  std::string destination_at_end;  ///< empty: nothing rewrites it
  std::uint16_t port_at_end = 0;   ///< 0: nothing rewrites it
  bool traffic = true;             ///< the lab's own generators send such packets all the time
  std::optional<ExpectedDrop> drop;
};

struct Blueprint {
  std::string scenario;
  std::string truth;
  Options options;
  std::vector<NamespacePlan> namespaces;
  std::vector<DevicePlan> devices;
  std::vector<Injection> injections;
  std::vector<std::pair<std::string, std::string>> gro_on;  ///< (netns, device)
  std::vector<TrafficPlan> traffic;                         ///< sinks first
  Expectation expect;
  std::vector<ExpectedJourney> journeys;  ///< of the scenarios that are made for following packets

  /// The namespace of that role; the caller knows that it exists.
  [[nodiscard]] const NamespacePlan& at(const std::string& role) const;
};

/// The document "weir.lab/1".
nlohmann::ordered_json to_json(const Blueprint& blueprint);

}  // namespace weir::lab
