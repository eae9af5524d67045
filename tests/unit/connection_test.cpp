// Which flows are one connection, which are not, and which of them count.
#include "model/connection.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "model/flow_json.h"

namespace weir::model {
namespace {

using enum FlowDirection;

FlowTuple tuple(std::uint8_t from, std::uint16_t sport, std::uint8_t to, std::uint16_t dport) {
  return {.source = {10, 0, 0, from},
          .destination = {10, 0, 0, to},
          .source_port = sport,
          .destination_port = dport,
          .ethertype = 0x0800,
          .protocol = 6};
}

/// A made-up host: namespaces are numbers, devices are found by "netns/name".
class Net {
 public:
  DeviceConfig& device(std::uint64_t netns, const std::string& name, const std::string& kind = "veth") {
    DeviceConfig device;
    device.ref = {.netns = {netns, "n" + std::to_string(netns)},
                  .ifindex = IfIndex{static_cast<std::uint32_t>(host_.devices.size() + 1)},
                  .name = name};
    device.link_kind = kind;
    host_.devices.push_back(std::move(device));
    return host_.devices.back();
  }
  void pair(std::uint64_t a, const std::string& dev_a, std::uint64_t b, const std::string& dev_b) {
    const DeviceRef end_a = device(a, dev_a).ref;
    const DeviceRef end_b = device(b, dev_b).ref;
    find(end_a.netns.id, dev_a).peer = end_b;
    find(end_b.netns.id, dev_b).peer = end_a;
  }
  DeviceConfig& find(std::uint64_t netns, const std::string& name) {
    for (DeviceConfig& one : host_.devices) {
      if (one.ref.netns.id == netns && one.ref.name == name) return one;
    }
    throw std::runtime_error("no device " + name);
  }
  void enslave(std::uint64_t netns, const std::string& port, const std::string& master) {
    find(netns, port).master = find(netns, master).ref.ifindex.value;
    find(netns, port).master_kind = find(netns, master).link_kind;
  }

  Flow& flow(std::uint64_t netns, const std::string& dev, FlowDirection direction, const FlowTuple& tuple,
             std::uint64_t bytes = 1000, std::uint16_t vlan = 0) {
    Flow one;
    one.device = find(netns, dev).ref;
    one.key = {
        .netns = netns, .ifindex = one.device.ifindex.value, .direction = direction, .vlan = vlan, .tuple = tuple};
    one.window = one.total = {.bytes = bytes, .packets = 10, .wire_packets = 10};
    one.first_seen = std::chrono::milliseconds(flows_.size() + 1);
    one.last_seen = std::chrono::seconds(1);
    one.tcp_flags = 2;
    one.workload = WorkloadRef{.kind = "namespace", .name = one.device.netns.name, .id = {}, .pod = {}, .runtime = {}};
    flows_.push_back(std::move(one));
    return flows_.back();
  }
  /// A packet goes through: in by one device, out by the other, and an answer back.
  void forward(std::uint64_t netns, const std::string& in, const std::string& out, const FlowTuple& before,
               const FlowTuple& after) {
    flow(netns, in, rx, before, 1000);
    flow(netns, out, tx, after, 1000);
    flow(netns, out, rx, after.reversed(), 50);
    flow(netns, in, tx, before.reversed(), 50);
  }
  void begin(std::uint64_t netns, const std::string& dev, const FlowTuple& sent) {
    flow(netns, dev, tx, sent, 1000);
    flow(netns, dev, rx, sent.reversed(), 50);
  }
  void end(std::uint64_t netns, const std::string& dev, const FlowTuple& got) {
    flow(netns, dev, rx, got, 1000);
    flow(netns, dev, tx, got.reversed(), 50);
  }
  ConntrackEntry& track(std::uint64_t netns, const FlowTuple& original, const FlowTuple& reply,
                        std::uint16_t zone = 0) {
    auto entry = std::make_shared<ConntrackEntry>();
    entry->netns = netns;
    entry->original = original;
    entry->reply = reply;
    entry->zone = zone;
    entry->id = static_cast<std::uint32_t>(entries_.size() + 1);
    entry->tcp_state = 3;
    entries_.push_back(entry);
    return *entry;
  }

  std::vector<Connection> join() {
    topology_.learn(host_);
    const std::vector<std::shared_ptr<const ConntrackEntry>> entries(entries_.begin(), entries_.end());
    return joiner_.join({.flows = flows_, .topology = topology_, .conntrack = entries, .side = side});
  }
  void next_window() { flows_.clear(); }

  std::vector<Flow>& flows() { return flows_; }
  std::function<FlowSide(const Flow&)> side;

 private:
  HostConfig host_;
  Topology topology_;
  ConnectionJoiner joiner_;
  std::vector<Flow> flows_;
  std::vector<std::shared_ptr<ConntrackEntry>> entries_;
};

std::vector<std::string> path_of(const Connection& connection) {
  std::vector<std::string> names;
  for (const DeviceRef& device : connection.path) names.push_back(to_string(device));
  return names;
}

std::uint64_t counted_bytes(Net& net) {
  std::uint64_t bytes = 0;
  for (const Flow& flow : net.flows()) {
    EXPECT_TRUE(flow.connection);
    if (flow.connection->counted) bytes += flow.window.bytes;
  }
  return bytes;
}

/// pod 1 -- host 2 (router) -- server 3.
void draw_routed(Net& net) {
  net.pair(1, "eth0", 2, "pod0");
  net.pair(2, "nic0", 3, "eth0");
}

TEST(ConnectionTest, IsOneAcrossPairsRoutersAndTranslation) {
  Net net;
  draw_routed(net);
  const FlowTuple sent = tuple(1, 4711, 100, 80);
  const FlowTuple got = tuple(2, 60000, 3, 8080);
  net.begin(1, "eth0", sent);
  net.forward(2, "pod0", "nic0", sent, got);
  net.end(3, "eth0", got);
  net.track(2, sent, got.reversed());
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 1U);
  const Connection& one = connections[0];
  EXPECT_EQ(one.initiator, sent);
  EXPECT_EQ(one.responder, got);
  EXPECT_EQ(path_of(one), (std::vector<std::string>{"n1/eth0", "n2/pod0", "n2/nic0", "n3/eth0"}));
  EXPECT_EQ(one.to_responder.window.bytes, 1000U);
  EXPECT_EQ(one.to_initiator.window.bytes, 50U);
  EXPECT_EQ(counted_bytes(net), 1050U);
  ASSERT_TRUE(one.conntrack);
  EXPECT_EQ(state_text(*one.conntrack), "ESTABLISHED");
  ASSERT_TRUE(one.initiator_workload);
  EXPECT_EQ(one.initiator_workload->name, "n1");
  ASSERT_TRUE(one.responder_workload);
  EXPECT_EQ(one.responder_workload->name, "n3");
  for (const Flow& flow : net.flows()) EXPECT_EQ(flow.conntrack != nullptr, flow.key.netns == 2);
}

TEST(ConnectionTest, TranslationIsKnownFromPacketsWhereThereIsNoTable) {
  Net net;
  draw_routed(net);
  const FlowTuple sent = tuple(1, 4711, 100, 80);
  const FlowTuple got = tuple(2, 60000, 3, 8080);
  net.begin(1, "eth0", sent);
  net.forward(2, "pod0", "nic0", sent, got);
  for (Flow& flow : net.flows()) {
    if (flow.key.netns == 2 && flow.key.direction == tx) flow.nat = FlowNat{.original = sent, .reply = got.reversed()};
  }
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 1U);
  EXPECT_EQ(connections[0].initiator, sent);
  EXPECT_EQ(connections[0].responder, got);
  EXPECT_FALSE(connections[0].conntrack);
}

TEST(ConnectionTest, TenantsInOtherNamespacesStayApart) {
  Net net;
  const FlowTuple sent = tuple(1, 4711, 3, 80);
  for (const std::uint64_t tenant : {10U, 20U}) {
    net.pair(tenant, "eth0", tenant + 1, "pod0");
    net.pair(tenant + 1, "up0", tenant + 2, "eth0");
    net.begin(tenant, "eth0", sent);
    net.forward(tenant + 1, "pod0", "up0", sent, sent);
    net.end(tenant + 2, "eth0", sent);
    net.track(tenant + 1, sent, sent.reversed());
  }
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 2U);
  EXPECT_NE(connections[0].id, connections[1].id);
  EXPECT_EQ(counted_bytes(net), 2 * 1050U);
  for (const Flow& flow : net.flows()) {
    EXPECT_EQ(flow.connection->id, net.flows()[flow.key.netns >= 20 ? net.flows().size() - 1 : 0].connection->id);
  }
}

/// Two tenants with the same tuple, whose ports are all in namespace 2.
void draw_tenants(Net& net, const std::string& bridge_a, const std::string& bridge_b) {
  net.device(2, bridge_a, "bridge");
  if (bridge_b != bridge_a) net.device(2, bridge_b, "bridge");
  for (const auto& [name, bridge, client, server] :
       {std::tuple("a", bridge_a, 10U, 11U), std::tuple("b", bridge_b, 20U, 21U)}) {
    net.pair(client, "eth0", 2, name + std::string("1"));
    net.pair(server, "eth0", 2, name + std::string("2"));
    net.enslave(2, name + std::string("1"), bridge);
    net.enslave(2, name + std::string("2"), bridge);
  }
}

void bridge_both(Net& net, const FlowTuple& sent) {
  for (const auto& [name, client, server] : {std::tuple("a", 10U, 11U), std::tuple("b", 20U, 21U)}) {
    net.begin(client, "eth0", sent);
    net.forward(2, name + std::string("1"), name + std::string("2"), sent, sent);
    net.end(server, "eth0", sent);
  }
}

TEST(ConnectionTest, TenantsOnBridgesOfOneNamespaceStayApart) {
  Net net;
  draw_tenants(net, "br0", "br1");
  const FlowTuple sent = tuple(1, 4711, 3, 80);
  bridge_both(net, sent);
  // Where iptables looks at what is bridged, the kernel itself has one entry for both.
  net.track(2, sent, sent.reversed());
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 2U);
  EXPECT_EQ(path_of(connections[0]).size(), 4U);
  EXPECT_EQ(path_of(connections[1]).size(), 4U);
}

TEST(ConnectionTest, TenantsOnVlansOfOneBridgeAreNeverMerged) {
  Net net;
  draw_tenants(net, "br0", "br0");
  bridge_both(net, tuple(1, 4711, 3, 80));
  std::map<std::uint64_t, std::set<bool>> tenants;
  net.join();
  for (const Flow& flow : net.flows()) {
    if (flow.key.netns != 2) tenants[flow.connection->id].insert(flow.key.netns >= 20);
  }
  for (const auto& [id, of] : tenants) EXPECT_EQ(of.size(), 1U) << "two tenants are one connection";
}

TEST(ConnectionTest, GoesTwiceThroughOneNamespace) {
  Net net;  // pod 1 - host 2 - firewall 3 - host 2 - nic
  net.pair(1, "eth0", 2, "pod0");
  net.pair(2, "fw0", 3, "in");
  net.pair(2, "fw1", 3, "out");
  net.device(2, "nic0", "");
  const FlowTuple sent = tuple(1, 4711, 100, 80);
  net.begin(1, "eth0", sent);
  net.forward(2, "pod0", "fw0", sent, sent);
  net.forward(3, "in", "out", sent, sent);
  net.forward(2, "fw1", "nic0", sent, sent);
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 1U);
  EXPECT_EQ(counted_bytes(net), 1050U);
  EXPECT_EQ(connections[0].path.size(), 7U);
  EXPECT_EQ(path_of(connections[0]).front(), "n1/eth0");
}

TEST(ConnectionTest, BridgeAboveAndBelow) {
  Net net;  // pod 1 - port - br0 - host routes - nic0
  net.pair(1, "eth0", 2, "port0");
  net.device(2, "br0", "bridge");
  net.enslave(2, "port0", "br0");
  net.device(2, "nic0", "");
  const FlowTuple sent = tuple(1, 4711, 100, 80);
  const FlowTuple got = tuple(2, 4711, 100, 80);
  net.begin(1, "eth0", sent);
  net.forward(2, "port0", "nic0", sent, got);
  net.flow(2, "br0", rx, sent);
  net.flow(2, "br0", tx, sent.reversed(), 50);
  net.track(2, sent, got.reversed());
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 1U);
  EXPECT_EQ(path_of(connections[0]), (std::vector<std::string>{"n1/eth0", "n2/port0", "n2/br0", "n2/nic0"}));
}

TEST(ConnectionTest, VlanDevicesAndBondsAreOneWithWhatIsBelow) {
  Net net;
  net.device(1, "bond0", "bond");
  net.device(1, "p0", "");
  net.device(1, "p1", "");
  net.enslave(1, "p0", "bond0");
  net.enslave(1, "p1", "bond0");
  net.device(1, "bond0.42", "vlan");
  net.find(1, "bond0.42").lower = net.find(1, "bond0").ref;
  net.find(1, "bond0.42").vlan_id = 42;
  const FlowTuple sent = tuple(1, 4711, 100, 80);
  net.flow(1, "bond0.42", tx, sent, 960);
  net.flow(1, "bond0", tx, sent, 1000, 42);
  net.flow(1, "p0", tx, sent, 600, 42);
  net.flow(1, "p1", tx, sent, 400, 42);
  // Another tenant's VLAN with the same addresses.
  net.flow(1, "bond0", tx, sent, 77, 43);
  net.flow(1, "p0", tx, sent, 77, 43);
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 2U);
  EXPECT_EQ(path_of(connections[0]).front(), "n1/bond0.42");
  EXPECT_EQ(connections[0].to_responder.window.bytes, 960U);
  EXPECT_EQ(connections[1].bytes(), 77U);
}

TEST(ConnectionTest, ZonesKeepTenantsOfOneRouterApart) {
  Net net;
  net.pair(10, "eth0", 2, "a");
  net.pair(20, "eth0", 2, "b");
  net.device(2, "nic0", "");
  const FlowTuple sent = tuple(1, 4711, 100, 80);
  const std::array<FlowTuple, 2> got{tuple(2, 1001, 100, 80), tuple(2, 1002, 100, 80)};
  int zone = 1;
  for (const char* port : {"a", "b"}) {
    const FlowTuple& after = got[static_cast<std::size_t>(zone - 1)];
    net.begin(zone == 1 ? 10 : 20, "eth0", sent);
    net.forward(2, port, "nic0", sent, after);
    for (Flow& flow : net.flows()) {
      if (flow.key.netns == 2 && flow.key.direction == tx && !flow.nat)
        flow.nat = FlowNat{.original = sent, .reply = after.reversed(), .zone = static_cast<std::uint16_t>(zone)};
    }
    net.track(2, sent, after.reversed(), static_cast<std::uint16_t>(zone++));
  }
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 2U);
  EXPECT_NE(connections[0].responder, connections[1].responder);
  EXPECT_NE(connections[0].conntrack->zone, connections[1].conntrack->zone);
  EXPECT_EQ(connections[0].path.size(), 3U);
  EXPECT_EQ(connections[1].path.size(), 3U);
}

TEST(ConnectionTest, IsOneWherePacketsJumpOverOneEndOfThePair) {
  Net net;  // bpf_redirect_peer(): nothing is accounted on the host's end
  net.pair(1, "eth0", 2, "pod0");
  net.device(2, "nic0", "");
  const FlowTuple got = tuple(100, 4711, 1, 80);
  net.flow(2, "nic0", rx, got);
  net.flow(1, "eth0", rx, got);
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 1U);
  EXPECT_EQ(path_of(connections[0]), (std::vector<std::string>{"n2/nic0", "n1/eth0"}));
}

TEST(ConnectionTest, MacvlansShareTheSegmentOfTheirLowerDevice) {
  Net net;
  net.device(2, "nic0", "");
  for (const std::uint64_t child : {10U, 20U}) {
    net.device(child, "eth0", "macvlan");
    net.find(child, "eth0").lower = net.find(2, "nic0").ref;
  }
  const FlowTuple between = tuple(10, 4711, 20, 80);
  net.begin(10, "eth0", between);
  net.end(20, "eth0", between);
  const FlowTuple away = tuple(10, 4712, 100, 80);
  net.begin(10, "eth0", away);
  net.begin(2, "nic0", away);
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 2U);
  for (const Connection& one : connections) EXPECT_EQ(one.path.size(), 2U);
}

TEST(ConnectionTest, WhatIsNotRoutedIsJoinedNowhereElse) {
  Net net;
  net.device(1, "a", "");
  net.device(1, "b", "");
  FlowTuple mdns = tuple(1, 5353, 251, 5353);
  mdns.protocol = 17;
  mdns.destination = {224, 0, 0, 251};
  const FlowTuple arp{.ethertype = 0x0806};
  for (const FlowTuple& one : {mdns, arp}) {
    net.flow(1, "a", rx, one);
    net.flow(1, "b", tx, one);
  }
  EXPECT_EQ(net.join().size(), 4U);
}

TEST(ConnectionTest, KeepsItsIdAndWhereItCounts) {
  Net net;
  draw_routed(net);
  const FlowTuple sent = tuple(1, 4711, 3, 80);
  net.flow(2, "nic0", tx, sent, 500);
  const std::uint64_t id = net.join().at(0).id;
  net.next_window();
  net.begin(1, "eth0", sent);
  net.forward(2, "pod0", "nic0", sent, sent);
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 1U);
  EXPECT_EQ(connections[0].id, id);
  EXPECT_EQ(connections[0].to_responder.counted_at->name, "nic0") << "equally near ones do not take turns";
}

TEST(ConnectionTest, CountsAtTheDeviceNearestToTheWorkload) {
  Net net;
  draw_routed(net);
  const FlowTuple sent = tuple(1, 4711, 3, 80);
  net.flow(2, "nic0", tx, sent, 900);
  net.flow(2, "pod0", rx, sent, 1000);
  net.flow(3, "eth0", rx, sent, 800);
  net.side = [](const Flow& flow) {
    return flow.device.name == "pod0" ? FlowSide::port : flow.key.netns == 3 ? FlowSide::inside : FlowSide::passing;
  };
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 1U);
  EXPECT_EQ(to_string(*connections[0].to_responder.counted_at), "n3/eth0");
  EXPECT_EQ(connections[0].initiator_workload->name, "n2") << "who is behind the port";
}

TEST(ConnectionTest, WhoseBeginningWasNotSeenWasBegunByTheHigherPort) {
  Net net;
  net.device(1, "eth0", "");
  const FlowTuple answer = tuple(3, 443, 1, 40000);
  net.flow(1, "eth0", tx, answer).tcp_flags = 16;
  net.flow(1, "eth0", rx, answer.reversed()).tcp_flags = 16;
  EXPECT_EQ(net.join().at(0).initiator, answer.reversed());
}

TEST(ConnectionJsonTest, HasTheKeysThatOthersRelyOn) {
  Net net;
  draw_routed(net);
  const FlowTuple sent = tuple(1, 4711, 100, 80);
  const FlowTuple got = tuple(2, 60000, 3, 8080);
  net.begin(1, "eth0", sent);
  net.forward(2, "pod0", "nic0", sent, got);
  ConntrackEntry& entry = net.track(2, sent, got.reversed(), 7);
  entry.mark = 0x10;
  entry.status = kConntrackSeenReply | kConntrackAssured;
  entry.timeout_s = 120;
  const auto connections = net.join();
  ASSERT_EQ(connections.size(), 1U);
  const auto json = nlohmann::json::parse(connection_line(connections[0], {}));
  EXPECT_EQ(json["schema"], "weir.connection/1");
  EXPECT_EQ(json["src"], "10.0.0.1");
  EXPECT_EQ(json["nat"]["dport"], 8080);
  EXPECT_EQ(json["to_responder"]["bytes"], 1000);
  EXPECT_EQ(json["to_initiator"]["bytes"], 50);
  EXPECT_EQ(json["devices"].size(), 3U);
  EXPECT_EQ(json["state"], "ESTABLISHED");
  EXPECT_EQ(json["ct"]["zone"], 7);
  EXPECT_EQ(json["ct"]["status"], (nlohmann::json{"SEEN_REPLY", "ASSURED"}));
  EXPECT_FALSE(json["ct"]["original"].contains("bytes")) << "not counted is not zero";
  const auto flow = nlohmann::json::parse(flow_line(net.flows()[2], {}));
  EXPECT_EQ(flow["connection"], json["connection"]);
  EXPECT_EQ(flow["ct"]["timeout_s"], 120);
  EXPECT_EQ(flow["ct"]["reply"]["src"], "10.0.0.3");
  EXPECT_TRUE(flow["counted"].is_boolean());
}

}  // namespace
}  // namespace weir::model
