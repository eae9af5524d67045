// Draft: the pen with which scenarios draw a blueprint. Uplinks, workloads, traffic and expectation, one call each.
#pragma once

#include <string>
#include <vector>

#include "lab/blueprint.h"

namespace weir::lab {

/// Joins uplinks and workloads to a blueprint. Addresses: workload p (from 1) lives in net p, uplink i in net 200+i;
/// bridged, all share one subnet. Only the chosen address family exists in the lab.
class Draft {
 public:
  /// `path` is used where the options name none.
  Draft(const Options& options, Path path);

  /// A namespace with a veth pair of `queues` queues to the host; returns its number (from 0). `culprit` workloads send
  /// by the first uplink only, the others by all.
  unsigned add_pod(unsigned queues);
  /// A TAP of `queues` queues in the host with a pretended guest behind it.
  unsigned add_tap(unsigned queues);
  /// The other workloads that the options ask for: pods without a fault. Call before the culprit is added.
  void add_bystanders();

  /// The culprit's traffic, that of the bystanders and of the host, and what receives it in the wire. With `cpu` all of
  /// it is sent from that CPU. `default_flows` 0: many.
  void add_traffic(unsigned default_flows = 0, std::optional<unsigned> cpu = {});

  /// Shares of the first uplink's queues when the culprit's packets spread as `culprit_shares` and all others evenly.
  [[nodiscard]] std::vector<double> mixed_shares(const std::vector<double>& culprit_shares) const;
  /// What the rule of queues.md §1 makes of such shares: collapse, skew or nothing.
  void expect_from_shares(const std::vector<double>& shares, std::vector<std::string> causes);

  [[nodiscard]] const Options& options() const { return blueprint_.options; }
  [[nodiscard]] NamespacePlan& host() { return blueprint_.namespaces[0]; }
  [[nodiscard]] const std::string& culprit_port() const { return workloads_.back().port; }
  [[nodiscard]] NamespacePlan& culprit_pod() { return blueprint_.namespaces[workloads_.back().netns]; }
  [[nodiscard]] std::string uplink_ref() const;
  [[nodiscard]] std::string culprit_ref() const;
  [[nodiscard]] Blueprint& blueprint() { return blueprint_; }
  [[nodiscard]] Blueprint finish() &&;

 private:
  struct Workload {
    std::size_t netns = 0;  ///< index into the blueprint; of the host for a TAP
    unsigned net = 0;
    std::string port;  ///< host-side device
    unsigned queues = 1;
    bool tap = false;
  };

  std::size_t add_namespace(const std::string& role);
  void add_uplink(unsigned index);
  void add_bridge();
  void add_wire_sink();
  void join_port(const Workload& workload, const std::string& guest_mac);
  void join_uplink_vxlan(unsigned index);
  void add_tbf(const std::string& dev);
  void send(const Workload& workload, std::uint64_t pps, unsigned flows, bool every_uplink,
            std::optional<unsigned> cpu);
  void send_tap(TrafficPlan plan, const Workload& workload);
  void send_from_host(std::uint64_t pps, unsigned flows, std::optional<unsigned> cpu);
  void add_latency_probe(std::optional<unsigned> cpu);

  [[nodiscard]] std::string address(unsigned net, unsigned host) const;
  [[nodiscard]] std::string with_prefix(unsigned net, unsigned host) const;
  [[nodiscard]] std::string wire_address(unsigned uplink) const { return address(kUplinkNet + uplink, 2); }
  [[nodiscard]] std::string port_name(bool tap);
  [[nodiscard]] unsigned senders() const;

  static constexpr unsigned kUplinkNet = 200;
  static constexpr unsigned kBridgeNet = 100;

  Blueprint blueprint_;
  Path path_;
  std::vector<Workload> workloads_;
  unsigned pods_ = 0;
};

/// How hashed flows of a veth with `pod_queues` queues spread over `queues` uplink queues when the pod's queue is read
/// as a recorded receive queue: pod queue 0 reads as "none" and keeps the hash, which is already confined to the first
/// part of the range; pod queue k reads as receive queue k-1 (skb_tx_hash(), net/core/dev.c).
std::vector<double> multiqueue_veth_shares(unsigned pod_queues, unsigned queues);

/// All packets by one of `queues` queues.
std::vector<double> one_queue(unsigned queue, unsigned queues);

/// All queues alike.
std::vector<double> even(unsigned queues);

}  // namespace weir::lab
