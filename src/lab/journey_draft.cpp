#include "lab/journey_draft.h"

#include <fmt/format.h>

#include <algorithm>

#include "lab/parts.h"

namespace weir::lab {

namespace {

constexpr std::uint64_t kJourneyRate = 100;  // packets a second: each can be told from the next
constexpr unsigned kJourneyPayload = 120;
constexpr std::uint32_t kJourneyVni = 42;

}  // namespace

JourneyDraft::JourneyDraft(const Options& options) {
  blueprint_.options = options;
}

void JourneyDraft::add_pod_host_server() {
  add_namespace("pod");
  add_namespace("host", true);
  add_namespace("server");
  add_cable(1, {"pod", "eth0", "workload", 2}, {"host", port(), "port", 1});
  add_cable(200, {"host", nic(), "uplink", 1}, {"server", "eth0", "wire", 2});
  add_route("pod", everywhere(), address(1, 1));
  add_route("server", subnet(1), address(200, 1));
}

void JourneyDraft::add_namespace(const std::string& role, bool forwards) {
  NamespacePlan plan;
  plan.role = role;
  plan.name = options().prefix + role;
  plan.early_shell = quiet_lines(options().family);
  if (forwards) plan.shell.push_back(forwarding_line(options().family));
  // One kernel hands bridged packets to the rules for routed ones, the next does not: they meet none here.
  plan.shell.emplace_back("for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $f ] || echo 0 >$f; done");
  blueprint_.namespaces.push_back(std::move(plan));
}

NamespacePlan& JourneyDraft::netns(std::string_view role) {
  return *std::ranges::find(blueprint_.namespaces, role, &NamespacePlan::role);
}

void JourneyDraft::add_cable(unsigned net, const End& a, const End& b) {
  for (const End* end : {&a, &b}) {
    const std::string mac_of_end = fmt::format("02:57:4a:00:00:{:02x}", macs_.size() + 1);
    macs_[ref(end->role, end->dev)] = mac_of_end;
    if (end->host != 0) address_mac_[address(net, end->host)] = mac_of_end;
  }
  netns(a.role).links.push_back(veth_line({a.dev, mac(a.role, a.dev)}, {b.dev, mac(b.role, b.dev)}, name(b.role), 1));
  add_end(net, a, b);
  add_end(net, b, a);
}

void JourneyDraft::add_end(unsigned net, const End& end, const End& peer) {
  blueprint_.devices.push_back({name(end.role), end.dev, end.kind, 1});
  ip(end.role, fmt::format("link set {} up", end.dev));
  if (end.host == 0) return;
  ip(end.role, fmt::format("addr add {}{} dev {}", address(net, end.host), v4() ? "/24" : "/64 nodad", end.dev));
  if (peer.host != 0) add_neighbour(end.role, end.dev, net, peer.host);
}

void JourneyDraft::add_bridge(const std::string& role, const std::string& dev, unsigned net, unsigned host) {
  const std::string own = fmt::format("02:57:4a:00:01:{:02x}", macs_.size() + 1);
  macs_[ref(role, dev)] = own;
  netns(role).links.push_back(
      fmt::format("link add {} address {} type bridge stp_state 0 forward_delay 0 mcast_snooping 0", dev, own));
  ip(role, fmt::format("link set {} up", dev));
  blueprint_.devices.push_back({name(role), dev, "bridge", 1});
  if (host == 0) return;
  address_mac_[address(net, host)] = own;
  ip(role, fmt::format("addr add {}{} dev {}", address(net, host), v4() ? "/24" : "/64 nodad", dev));
}

void JourneyDraft::enslave(const std::string& role, const std::string& bridge, const std::string& dev,
                           const std::vector<std::string>& macs) {
  ip(role, fmt::format("link set {} master {}", dev, bridge));
  for (const std::string& behind : macs) {
    netns(role).bridge.push_back(fmt::format("fdb replace {} dev {} master static", behind, dev));
  }
}

void JourneyDraft::add_tunnel_end(const std::string& role, unsigned under, unsigned own, unsigned far, unsigned inner) {
  const std::string tunnel = "vx0";
  const std::string own_mac = fmt::format("02:57:4a:00:02:{:02x}", own);
  macs_[ref(role, tunnel)] = own_mac;
  address_mac_[address(inner, own)] = own_mac;
  ip(role, fmt::format("link add {} address {} type vxlan id {} dstport 4789 local {} remote {} dev {}", tunnel,
                       own_mac, kJourneyVni, address(under, own), address(under, far), nic()));
  ip(role, fmt::format("link set {} up", tunnel));
  ip(role, fmt::format("addr add {}{} dev {}", address(inner, own), v4() ? "/24" : "/64 nodad", tunnel));
  blueprint_.devices.push_back({name(role), tunnel, "tunnel", 1});
}

void JourneyDraft::add_neighbour(const std::string& role, const std::string& dev, unsigned net, unsigned host) {
  ip(role,
     fmt::format("neigh replace {} lladdr {} dev {}", address(net, host), address_mac_.at(address(net, host)), dev));
}

void JourneyDraft::add_route(const std::string& role, const std::string& destination, const std::string& via) {
  ip(role, fmt::format("route add {} via {}", destination, via));
}

void JourneyDraft::add_rules(const std::string& role, std::string ruleset) {
  for (std::size_t at = 0; (at = ruleset.find("{ip}", at)) != std::string::npos;)
    ruleset.replace(at, 4, v4() ? "ip" : "ip6");
  shell(role, fmt::format("nft -f - <<'RULES'\n{}\nRULES", ruleset));
}

void JourneyDraft::add_server(const std::string& role) {
  for (const TrafficKind kind : {TrafficKind::udp_echo, TrafficKind::udp_sink, TrafficKind::tcp_sink}) {
    blueprint_.traffic.push_back({.kind = kind, .netns = name(role), .label = role});
  }
}

void JourneyDraft::add_traffic(const std::string& from, const std::string& destination) {
  const TrafficPlan common{.netns = name(from), .label = "echo", .destinations = {destination}};
  TrafficPlan probe = common;
  probe.kind = TrafficKind::request_response;
  probe.pps = std::max<std::uint64_t>(1, rate() / 4);
  probe.payload_bytes = kJourneyPayload;
  blueprint_.traffic.push_back(probe);
  TrafficPlan datagrams = common;
  datagrams.label = "datagrams";
  datagrams.port = kJourneySinkPort;
  add_datagrams(datagrams);
  TrafficPlan stream = datagrams;
  stream.label = "streams";
  stream.kind = TrafficKind::tcp_bulk;
  stream.flows = std::max(1U, options().flows);
  stream.pps = probe.pps;
  stream.payload_bytes = kJourneyPayload;
  blueprint_.traffic.push_back(stream);
  datagrams.label = "connects";
  add_connects(datagrams);
}

void JourneyDraft::add_datagrams(TrafficPlan plan) {
  plan.kind = TrafficKind::udp_flows;
  plan.flows = std::max(1U, options().flows) * static_cast<unsigned>(plan.destinations.size());
  plan.pps = std::max<std::uint64_t>(1, rate() / 4) * plan.destinations.size();
  if (!plan.dont_fragment) plan.payload_bytes = kJourneyPayload;
  blueprint_.traffic.push_back(std::move(plan));
}

void JourneyDraft::add_connects(TrafficPlan plan) {
  plan.kind = TrafficKind::tcp_connects;
  plan.pps = std::max<std::uint64_t>(1, rate() / 10);
  blueprint_.traffic.push_back(std::move(plan));
}

ExpectedJourney& JourneyDraft::add_journey(const std::string& journey_name, const std::string& protocol,
                                           const std::string& destination, std::uint16_t port) {
  ExpectedJourney& journey = blueprint_.journeys.emplace_back();
  journey.name = journey_name;
  journey.from = name("pod");
  journey.source = address(1, 2);
  journey.destination = destination;
  journey.protocol = protocol;
  journey.port = port;
  return journey;
}

void JourneyDraft::expect_served(const std::string& destination, const ExpectedJourney& like) {
  struct Kind {
    const char* name;
    const char* protocol;
    std::uint16_t port;
  };
  for (const Kind& kind : {Kind{"echo", "udp", kJourneyEchoPort}, Kind{"datagram", "udp", kJourneySinkPort},
                           Kind{"stream", "tcp", kJourneySinkPort}, Kind{"ping", "icmp", 0}}) {
    ExpectedJourney& journey = add_journey(kind.name, kind.protocol, destination, kind.port);
    journey.path = like.path;
    journey.source_at_end = like.source_at_end;
    journey.destination_at_end = like.destination_at_end;
    journey.traffic = kind.port != 0;
  }
}

std::string JourneyDraft::address(unsigned net, unsigned host) const {
  return v4() ? fmt::format("10.99.{}.{}", net, host) : fmt::format("fd99:0:0:{:x}::{:x}", net, host);
}

std::string JourneyDraft::subnet(unsigned net) const {
  return v4() ? fmt::format("10.99.{}.0/24", net) : fmt::format("fd99:0:0:{:x}::/64", net);
}

std::string JourneyDraft::virtual_address(unsigned index) const {
  return v4() ? fmt::format("10.96.{}.10", index) : fmt::format("fd96::{:x}:10", index + 1);
}

std::string JourneyDraft::mac(const std::string& role, const std::string& dev) const {
  return macs_.at(ref(role, dev));
}

std::string JourneyDraft::ref(const std::string& role, const std::string& dev) const {
  return name(role) + "/" + dev;
}

std::vector<std::string> JourneyDraft::path(const std::vector<std::pair<std::string, std::string>>& hops) const {
  std::vector<std::string> refs;
  for (const auto& [role, dev] : hops) refs.push_back(ref(role, dev));
  return refs;
}

std::string JourneyDraft::port(unsigned index) const {
  return series_name(options().port_name.empty() ? "pv0" : options().port_name, index);
}

std::uint64_t JourneyDraft::rate() const {
  return options().pps == 0 ? kJourneyRate : options().pps;
}

}  // namespace weir::lab
