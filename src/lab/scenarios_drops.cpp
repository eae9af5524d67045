// Networks in which some packets do not arrive, all the time, and the rest do.
#include <fmt/format.h>

#include "lab/journey_draft.h"
#include "lab/scenario_builders.h"

namespace weir::lab {

namespace {

constexpr std::uint16_t kForbiddenPort = 4444;
constexpr std::uint16_t kUnreadPort = 4500;
constexpr std::uint16_t kUnacceptedPort = 4433;
constexpr unsigned kNarrowMtu = 1300;
constexpr unsigned kWidePayload = 1400;

/// Pod, host and server with what is healthy in all of these scenarios.
JourneyDraft served_draft(const Options& options) {
  JourneyDraft draft(options);
  draft.add_pod_host_server();
  draft.add_server("server");
  const std::string server = draft.address(200, 2);
  draft.add_traffic("pod", server);
  ExpectedJourney like;
  like.path = draft.path({{"pod", "eth0"}, {"host", draft.port()}, {"host", draft.nic()}, {"server", "eth0"}});
  draft.expect_served(server, like);
  return draft;
}

TrafficPlan from_pod(const JourneyDraft& draft, const std::string& destination, std::uint16_t port) {
  return {.netns = draft.name("pod"), .label = "faulty", .destinations = {destination}, .port = port};
}

/// A journey that ends in the host, behind the pod's port.
ExpectedJourney& add_lost_in_host(JourneyDraft& draft, const std::string& name, const std::string& protocol,
                                  const std::string& destination, std::uint16_t port, ExpectedDrop drop) {
  ExpectedJourney& journey = draft.add_journey(name, protocol, destination, port);
  journey.path = draft.path({{"pod", "eth0"}, {"host", draft.port()}});
  drop.netns = draft.name("host");
  journey.drop = std::move(drop);
  return journey;
}

/// A journey that ends in the server.
void add_lost_in_server(JourneyDraft& draft, const std::string& protocol, std::uint16_t port, ExpectedDrop drop) {
  ExpectedJourney& journey = draft.add_journey("dropped", protocol, draft.address(200, 2), port);
  journey.path = draft.path({{"pod", "eth0"}, {"host", draft.port()}, {"host", draft.nic()}, {"server", "eth0"}});
  drop.netns = draft.name("server");
  journey.drop = std::move(drop);
}

JourneyDraft narrow_draft(const Options& options, const char* cause) {
  JourneyDraft draft = served_draft(options);
  draft.ip("host", fmt::format("link set {} mtu {}", draft.nic(), kNarrowMtu));
  draft.ip("server", fmt::format("link set eth0 mtu {}", kNarrowMtu));
  const std::string server = draft.address(200, 2);
  TrafficPlan wide = from_pod(draft, server, kJourneySinkPort);
  wide.dont_fragment = true;
  wide.payload_bytes = kWidePayload;
  draft.add_datagrams(wide);
  add_lost_in_host(draft, "dropped", "udp", server, kJourneySinkPort,
                   {.reasons = {"PKT_TOO_BIG"}, .finding = cause[0] == 0 ? "" : "mtu-blackhole", .cause = cause});
  return draft;
}

}  // namespace

Result<Blueprint> draw_nft_drop(const Options& options) {
  JourneyDraft draft = served_draft(options);
  draft.add_rules("host", fmt::format(R"(table inet lab {{
  chain services {{
    th dport {} counter drop comment "weir-lab drop"
  }}
  chain forward {{
    type filter hook forward priority filter
    iifname "{}" meta l4proto {{ tcp, udp }} counter jump services comment "weir-lab jump"
  }}
}})",
                                      kForbiddenPort, draft.port()));
  const std::string server = draft.address(200, 2);
  draft.add_datagrams(from_pod(draft, server, kForbiddenPort));
  draft.add_connects(from_pod(draft, server, kForbiddenPort));
  for (const char* protocol : {"udp", "tcp"}) {
    add_lost_in_host(draft, fmt::format("dropped-{}", protocol), protocol, server, kForbiddenPort,
                     {.reasons = {"NETFILTER_DROP"},
                      .rule_comment = "weir-lab drop",
                      .finding = "firewall-drop",
                      .cause = "nft-rule"});
  }
  return std::move(draft).finish();
}

Result<Blueprint> draw_rp_filter(const Options& options) {
  if (options.family == Family::v6) {
    return fail(Errc::usage, "--family 6: rp-filter is IPv4's, the kernel has no reverse path filter for IPv6");
  }
  JourneyDraft draft = served_draft(options);
  const std::string second = draft.virtual_address(1);
  draft.ip("pod", fmt::format("addr add {} dev lo", draft.alone(second)));
  draft.add_route("host", draft.alone(second), draft.address(200, 2));
  draft.shell("host", fmt::format("echo 1 >/proc/sys/net/ipv4/conf/{}/rp_filter", draft.port()));
  const std::string server = draft.address(200, 2);
  TrafficPlan asymmetric = from_pod(draft, server, kJourneySinkPort);
  asymmetric.source = second;
  draft.add_datagrams(asymmetric);
  add_lost_in_host(draft, "dropped", "udp", server, kJourneySinkPort,
                   {.reasons = {"IP_RPFILTER"}, .finding = "route-drop", .cause = "rp-filter"})
      .source = second;
  return std::move(draft).finish();
}

Result<Blueprint> draw_no_route(const Options& options) {
  JourneyDraft draft = served_draft(options);
  // Drop reasons came late to the route lookup: most of what ip_error() frees still has none.
  struct Refusal {
    const char* name;
    unsigned index;  ///< of the virtual address
    std::vector<std::string> reasons;
  };
  const std::vector<Refusal> refusals{
      {"no-route", 1, {"IP_INNOROUTES"}},
      {"unreachable", 2, {draft.v4() ? "NOT_SPECIFIED" : "IP_INNOROUTES", "IP_INADDRERRORS"}},
      {"blackhole", 3, {"NOT_SPECIFIED"}},
      {"prohibit", 4, {draft.v4() ? "NOT_SPECIFIED" : "IP_INNOROUTES"}},
  };
  TrafficPlan lost = from_pod(draft, draft.virtual_address(1), kJourneySinkPort);
  lost.destinations.clear();
  for (const Refusal& refusal : refusals) {
    const std::string destination = draft.virtual_address(refusal.index);
    if (refusal.index > 1) draft.ip("host", fmt::format("route add {} {}", refusal.name, draft.alone(destination)));
    lost.destinations.push_back(destination);
    add_lost_in_host(draft, refusal.name, "udp", destination, kJourneySinkPort,
                     {.reasons = refusal.reasons, .finding = "route-drop", .cause = "no-route"});
  }
  draft.add_datagrams(lost);
  // ip_error() and icmp_send() take from the same allowance, so with both limits hardly any message is sent.
  if (draft.v4()) draft.shell("host", "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit");
  return std::move(draft).finish();
}

Result<Blueprint> draw_mtu(const Options& options) {
  return narrow_draft(options, "").finish();
}

Result<Blueprint> draw_mtu_blackhole(const Options& options) {
  JourneyDraft draft = narrow_draft(options, "icmp-blocked");
  draft.add_rules("host", fmt::format(R"(table inet lab {{
  chain output {{
    type filter hook output priority filter
    {} counter drop comment "weir-lab blackhole"
  }}
}})",
                                      draft.v4() ? "icmp type destination-unreachable icmp code frag-needed"
                                                 : "icmpv6 type packet-too-big"));
  return std::move(draft).finish();
}

Result<Blueprint> draw_rcvbuf(const Options& options) {
  JourneyDraft draft = served_draft(options);
  draft.blueprint().traffic.push_back(
      {.kind = TrafficKind::udp_stalled, .netns = draft.name("server"), .label = "stalled", .port = kUnreadPort});
  draft.add_datagrams(from_pod(draft, draft.address(200, 2), kUnreadPort));
  add_lost_in_server(draft, "udp", kUnreadPort,
                     {.reasons = {"SOCKET_RCVBUFF"}, .finding = "receiver-stall", .cause = "udp-rcvbuf"});
  return std::move(draft).finish();
}

Result<Blueprint> draw_listen_overflow(const Options& options) {
  JourneyDraft draft = served_draft(options);
  draft.blueprint().traffic.push_back(
      {.kind = TrafficKind::tcp_stalled, .netns = draft.name("server"), .label = "stalled", .port = kUnacceptedPort});
  draft.add_connects(from_pod(draft, draft.address(200, 2), kUnacceptedPort));
  add_lost_in_server(draft, "tcp", kUnacceptedPort, {.finding = "listen-overflow", .cause = "slow-accept"});
  return std::move(draft).finish();
}

}  // namespace weir::lab
