// Networks in which every packet arrives: what changes on its way, and where, is the question.
#include <fmt/format.h>

#include <tuple>

#include "lab/journey_draft.h"
#include "lab/scenario_builders.h"

namespace weir::lab {

namespace {

constexpr std::uint16_t kVirtualPort = 8053;

}  // namespace

// As a service address on a cluster's node: the server knows nothing of the pods, so both addresses are rewritten.
Result<Blueprint> draw_nat(const Options& options) {
  JourneyDraft draft(options);
  draft.add_pod_host_server();
  std::erase_if(draft.netns("server").ip, [](const std::string& line) { return line.starts_with("route add"); });
  const std::string server = draft.address(200, 2);
  const std::string whole = draft.virtual_address(0);
  const std::string one_port = draft.virtual_address(1);
  draft.add_rules("host", fmt::format(R"(table inet lab {{
  chain prerouting {{
    type nat hook prerouting priority dstnat
    {{ip}} daddr {0} counter dnat {{ip}} to {2} comment "weir-lab vip"
    {{ip}} daddr {1} udp dport {3} counter dnat {{ip}} to {4} comment "weir-lab vip port"
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat
    oifname "{5}" counter masquerade comment "weir-lab masquerade"
  }}
}})",
                                      whole, one_port, server, kVirtualPort,
                                      draft.v4() ? fmt::format("{}:{}", server, kJourneyEchoPort)
                                                 : fmt::format("[{}]:{}", server, kJourneyEchoPort),
                                      draft.nic()));
  draft.add_server("server");
  draft.add_traffic("pod", whole);
  ExpectedJourney like;
  like.path = draft.path({{"pod", "eth0"}, {"host", draft.port()}, {"host", draft.nic()}, {"server", "eth0"}});
  like.source_at_end = draft.address(200, 1);
  like.destination_at_end = server;
  draft.expect_served(whole, like);
  ExpectedJourney& port = draft.add_journey("port", "udp", one_port, kVirtualPort);
  port.path = like.path;
  port.source_at_end = like.source_at_end;
  port.destination_at_end = server;
  port.port_at_end = kJourneyEchoPort;
  port.traffic = false;
  return std::move(draft).finish();
}

// As a cluster's overlay network: a subnet and a bridge on each host, routed through the tunnel, a service address.
Result<Blueprint> draw_vxlan(const Options& options) {
  JourneyDraft draft(options);
  draft.add_namespace("pod");
  draft.add_namespace("host", true);
  draft.add_namespace("host2", true);
  draft.add_namespace("pod2");
  draft.add_cable(1, {"pod", "eth0", "workload", 2}, {"host", draft.port(), "port", 0});
  draft.add_cable(2, {"pod2", "eth0", "wire", 2}, {"host2", draft.port(), "port", 0});
  draft.add_cable(200, {"host", draft.nic(), "uplink", 1}, {"host2", draft.nic(), "uplink", 2});
  draft.add_bridge("host", "br0", 1, 1);
  draft.add_bridge("host2", "br0", 2, 1);
  draft.add_tunnel_end("host", 200, 1, 2, 201);
  draft.add_tunnel_end("host2", 200, 2, 1, 201);
  for (const auto& [host, pod, own, far, end] :
       {std::tuple{"host", "pod", 1U, 2U, 2U}, std::tuple{"host2", "pod2", 2U, 1U, 1U}}) {
    draft.enslave(host, "br0", draft.port(), {draft.mac(pod, "eth0")});
    draft.add_neighbour(pod, "eth0", own, 1);
    draft.add_neighbour(host, "br0", own, 2);
    // Room for the tunnel's headers.
    draft.ip(pod, "link set eth0 mtu 1400");
    draft.add_route(pod, draft.everywhere(), draft.address(own, 1));
    draft.add_neighbour(host, "vx0", 201, end);
    draft.add_route(host, draft.subnet(far), draft.address(201, end));
  }
  const std::string server = draft.address(2, 2);
  const std::string vip = draft.virtual_address(0);
  draft.add_rules("host", fmt::format(R"(table inet lab {{
  chain prerouting {{
    type nat hook prerouting priority dstnat
    {{ip}} daddr {} counter dnat {{ip}} to {} comment "weir-lab vip"
  }}
}})",
                                      vip, server));
  draft.add_server("pod2");
  draft.add_traffic("pod", vip);
  ExpectedJourney like;
  like.path = draft.path({{"pod", "eth0"},
                          {"host", draft.port()},
                          {"host", "br0"},
                          {"host", "vx0"},
                          {"host", draft.nic()},
                          {"host2", draft.nic()},
                          {"host2", "vx0"},
                          {"host2", "br0"},
                          {"host2", draft.port()},
                          {"pod2", "eth0"}});
  like.destination_at_end = server;
  draft.expect_served(vip, like);
  return std::move(draft).finish();
}

Result<Blueprint> draw_bridge(const Options& options) {
  JourneyDraft draft(options);
  draft.add_namespace("pod");
  draft.add_namespace("host");
  draft.add_namespace("pod2");
  draft.add_namespace("server");
  draft.add_bridge("host", "br0", 1, 0);
  draft.add_cable(1, {"pod", "eth0", "workload", 2}, {"host", draft.port(0), "port", 0});
  draft.add_cable(1, {"pod2", "eth0", "wire", 3}, {"host", draft.port(1), "port", 0});
  draft.add_cable(1, {"server", "eth0", "wire", 4}, {"host", draft.nic(), "uplink", 0});
  struct Member {
    const char* role;
    std::string port;
    unsigned host;
  };
  const std::vector<Member> members{{"pod", draft.port(0), 2}, {"pod2", draft.port(1), 3}, {"server", draft.nic(), 4}};
  for (const Member& member : members) {
    draft.enslave("host", "br0", member.port, {draft.mac(member.role, "eth0")});
    for (const Member& other : members) {
      if (other.host != member.host) draft.add_neighbour(member.role, "eth0", 1, other.host);
    }
  }
  draft.add_server("pod2");
  draft.add_server("server");
  draft.add_traffic("pod", draft.address(1, 3));
  draft.add_datagrams(
      {.netns = draft.name("pod"), .label = "uplink", .destinations = {draft.address(1, 4)}, .port = kJourneySinkPort});
  ExpectedJourney like;
  like.path = draft.path({{"pod", "eth0"}, {"host", draft.port(0)}, {"host", draft.port(1)}, {"pod2", "eth0"}});
  draft.expect_served(draft.address(1, 3), like);
  draft.add_journey("uplink", "udp", draft.address(1, 4), kJourneySinkPort).path =
      draft.path({{"pod", "eth0"}, {"host", draft.port(0)}, {"host", draft.nic()}, {"server", "eth0"}});
  return std::move(draft).finish();
}

Result<Blueprint> draw_veth_chain(const Options& options) {
  JourneyDraft draft(options);
  const std::vector<std::string> routers{"r1", "r2", "r3"};
  draft.add_namespace("pod");
  for (const std::string& router : routers) draft.add_namespace(router, true);
  draft.add_namespace("server");
  draft.add_cable(1, {"pod", "eth0", "workload", 2}, {"r1", draft.port(), "port", 1});
  draft.add_cable(2, {"r1", draft.nic(), "uplink", 2}, {"r2", draft.port(), "port", 1});
  draft.add_cable(3, {"r2", draft.nic(), "uplink", 2}, {"r3", draft.port(), "port", 1});
  draft.add_cable(200, {"r3", draft.nic(), "uplink", 1}, {"server", "eth0", "wire", 2});
  draft.add_route("pod", draft.everywhere(), draft.address(1, 1));
  draft.add_route("r1", draft.everywhere(), draft.address(2, 1));
  draft.add_route("r2", draft.everywhere(), draft.address(3, 1));
  draft.add_route("r2", draft.subnet(1), draft.address(2, 2));
  draft.add_route("r3", draft.everywhere(), draft.address(3, 2));
  draft.add_route("server", draft.everywhere(), draft.address(200, 1));
  draft.add_server("server");
  draft.add_traffic("pod", draft.address(200, 2));
  ExpectedJourney like;
  std::vector<std::pair<std::string, std::string>> hops{{"pod", "eth0"}};
  for (const std::string& router : routers) {
    hops.emplace_back(router, draft.port());
    hops.emplace_back(router, draft.nic());
  }
  hops.emplace_back("server", "eth0");
  like.path = draft.path(hops);
  draft.expect_served(draft.address(200, 2), like);
  return std::move(draft).finish();
}

}  // namespace weir::lab
