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

enum class TrafficKind : std::uint8_t { udp_flows, tcp_bulk, tcp_sink, tap_frames, udp_echo, request_response };

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
  std::string source{};  ///< tap_frames: address of the pretended guest
  std::string source_mac{};
  std::string destination_mac{};
  L4 l4 = L4::udp;  ///< tap_frames: what the frames carry
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

  /// The namespace of that role; the caller knows that it exists.
  [[nodiscard]] const NamespacePlan& at(const std::string& role) const;
};

/// The document "weir.lab/1".
nlohmann::ordered_json to_json(const Blueprint& blueprint);

}  // namespace weir::lab
