// JourneyDraft: the pen for small networks in which single packets are followed.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lab/blueprint.h"

namespace weir::lab {

/// Ports of the server: what the lab's own traffic goes to.
inline constexpr std::uint16_t kJourneyEchoPort = 7;
inline constexpr std::uint16_t kJourneySinkPort = 5001;  ///< UDP and TCP

/// Namespaces joined by cables (veth pairs). Every cable is a net: its ends have the addresses .1, .2, … of it, or are
/// ports of a bridge. Neighbours are static, so that no packet is there but those that the scenario is about.
class JourneyDraft {
 public:
  struct End {
    std::string role;   ///< namespace
    std::string dev;    ///< device in it
    std::string kind;   ///< DevicePlan::role
    unsigned host = 0;  ///< its number in the net; 0: no address
  };

  explicit JourneyDraft(const Options& options);

  /// The namespaces "pod", "host" and "server", host forwards: pod/eth0 in net 1, server/eth0 in net 200.
  void add_pod_host_server();
  void add_namespace(const std::string& role, bool forwards = false);
  void add_cable(unsigned net, const End& a, const End& b);
  /// A bridge whose address is `host` of `net`; 0: it has none.
  void add_bridge(const std::string& role, const std::string& dev, unsigned net, unsigned host);
  /// Makes a device a port of a bridge; behind it the bridge knows the addresses `macs`.
  void enslave(const std::string& role, const std::string& bridge, const std::string& dev,
               const std::vector<std::string>& macs);
  /// One end of a VXLAN tunnel, vx0, over addresses of the net `under`: its own is .`own` and the other end's .`far`.
  /// In the net `inner` it has the same number.
  void add_tunnel_end(const std::string& role, unsigned under, unsigned own, unsigned far, unsigned inner);
  /// A static neighbour: the address `host` of `net`, whose device the draft has seen.
  void add_neighbour(const std::string& role, const std::string& dev, unsigned net, unsigned host);
  void add_route(const std::string& role, const std::string& destination, const std::string& via);
  void ip(const std::string& role, const std::string& line) { netns(role).ip.push_back(line); }
  void shell(const std::string& role, const std::string& line) { netns(role).shell.push_back(line); }
  /// Rules of nft(8); `{ip}` in it becomes ip or ip6.
  void add_rules(const std::string& role, std::string ruleset);

  /// What answers in `role`: an echo, a reader of datagrams, a reader of streams.
  void add_server(const std::string& role);
  /// Requests, datagrams, streams and new connections from `from` to the server at `destination`, `rate()` packets a
  /// second together.
  void add_traffic(const std::string& from, const std::string& destination);
  /// Datagrams with the plan's options, a quarter of the rate.
  void add_datagrams(TrafficPlan plan);
  /// New connections, a tenth of the rate.
  void add_connects(TrafficPlan plan);

  /// What add_traffic() sends to `destination`, and a ping: all by the same path, rewritten alike.
  void expect_served(const std::string& destination, const ExpectedJourney& like);
  /// One more journey from the pod; the caller fills in the rest.
  ExpectedJourney& add_journey(const std::string& name, const std::string& protocol, const std::string& destination,
                               std::uint16_t port);

  [[nodiscard]] std::string address(unsigned net, unsigned host) const;
  [[nodiscard]] std::string subnet(unsigned net) const;
  /// A single address as a prefix.
  [[nodiscard]] std::string alone(const std::string& address) const { return address + (v4() ? "/32" : "/128"); }
  [[nodiscard]] std::string everywhere() const { return v4() ? "0.0.0.0/0" : "::/0"; }
  /// A virtual address that no device has.
  [[nodiscard]] std::string virtual_address(unsigned index) const;
  [[nodiscard]] std::string mac(const std::string& role, const std::string& dev) const;
  [[nodiscard]] std::string ref(const std::string& role, const std::string& dev) const;
  [[nodiscard]] std::vector<std::string> path(const std::vector<std::pair<std::string, std::string>>& hops) const;
  [[nodiscard]] const std::string& nic() const { return options().nic_name; }
  /// Name of the `index`-th port.
  [[nodiscard]] std::string port(unsigned index = 0) const;
  [[nodiscard]] bool v4() const { return options().family == Family::v4; }
  [[nodiscard]] std::uint64_t rate() const;
  [[nodiscard]] const Options& options() const { return blueprint_.options; }
  [[nodiscard]] Blueprint& blueprint() { return blueprint_; }
  [[nodiscard]] NamespacePlan& netns(std::string_view role);
  [[nodiscard]] const std::string& name(const std::string& role) const { return blueprint_.at(role).name; }
  [[nodiscard]] Blueprint finish() && { return std::move(blueprint_); }

 private:
  void add_end(unsigned net, const End& end, const End& peer);

  Blueprint blueprint_;
  std::map<std::string, std::string> macs_;         ///< by "netns/dev"
  std::map<std::string, std::string> address_mac_;  ///< by address
};

}  // namespace weir::lab
