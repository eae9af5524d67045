#include "lab/draft.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lab/parts.h"

namespace weir::lab {

namespace {

/// Weight of the culprit's traffic when others send too: enough to be the one fault of the host, and 4 of 5 packets.
constexpr double kCulpritWeight = 0.8;
constexpr std::uint64_t kDefaultPps = 20'000;
constexpr unsigned kSmallPayload = 200;
constexpr unsigned kFullPayload = 1400;
constexpr std::uint32_t kVni = 42;

enum class Mac : unsigned { pod = 1, port, uplink, wire, bridge, tap, guest, tunnel_host, tunnel_wire };

std::string mac(Mac kind, unsigned index) {
  return fmt::format("02:57:45:{:02x}:{:02x}:{:02x}", static_cast<unsigned>(kind), index >> 8, index & 0xff);
}

}  // namespace

Draft::Draft(const Options& options, Path path) : path_(options.path.value_or(path)) {
  blueprint_.options = options;
  // With one workload only, the further uplinks would carry nothing.
  if (options.nics > 1 && !options.host_traffic) blueprint_.options.pods = std::max(options.pods, 2U);
  add_namespace("host");
  add_namespace("wire");
  if (path_ == Path::bridged) add_bridge();
  for (unsigned i = 0; i < options.nics; ++i) add_uplink(i);
  add_wire_sink();
}

std::size_t Draft::add_namespace(const std::string& role) {
  NamespacePlan netns;
  netns.role = role;
  netns.name = options().prefix + role;
  netns.early_shell = quiet_lines(options().family);
  if (role == "host" && path_ != Path::bridged) netns.shell.push_back(forwarding_line(options().family));
  blueprint_.namespaces.push_back(std::move(netns));
  return blueprint_.namespaces.size() - 1;
}

std::string Draft::address(unsigned net, unsigned host) const {
  return options().family == Family::v4 ? fmt::format("10.99.{}.{}", net, host)
                                        : fmt::format("fd99:0:0:{:x}::{:x}", net, host);
}

std::string Draft::with_prefix(unsigned net, unsigned host) const {
  const bool v4 = options().family == Family::v4;
  const char* length = path_ == Path::bridged ? (v4 ? "/16" : "/48") : (v4 ? "/24" : "/64");
  return address(net, host) + length + (v4 ? "" : " nodad");
}

void Draft::add_bridge() {
  NamespacePlan& host = blueprint_.namespaces[0];
  host.links.push_back(fmt::format("link add br0 address {} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                                   mac(Mac::bridge, 0)));
  host.ip.push_back("link set br0 up");
  host.ip.push_back(fmt::format("addr add {} dev br0", with_prefix(kBridgeNet, 1)));
  blueprint_.devices.push_back({host.name, "br0", "bridge", 1});
}

void Draft::add_uplink(unsigned index) {
  NamespacePlan& host = blueprint_.namespaces[0];
  NamespacePlan& wire = blueprint_.namespaces[1];
  const std::string nic = series_name(options().nic_name, index);
  const std::string peer = fmt::format("w{}", index);
  host.links.push_back(
      veth_line({nic, mac(Mac::uplink, index)}, {peer, mac(Mac::wire, index)}, wire.name, options().queues));
  host.ip.push_back(fmt::format("link set {} up", nic));
  wire.ip.push_back(fmt::format("link set {} up", peer));
  blueprint_.devices.push_back({host.name, nic, "uplink", options().queues});
  blueprint_.devices.push_back({wire.name, peer, "wire", options().queues});
  if (path_ == Path::vxlan) {
    join_uplink_vxlan(index);
  } else {
    wire.ip.push_back(fmt::format("addr add {} dev {}", with_prefix(kUplinkNet + index, 2), peer));
  }
  if (path_ == Path::bridged) {
    host.ip.push_back(fmt::format("link set {} master br0", nic));
    host.bridge.push_back(fmt::format("fdb replace {} dev {} master static", mac(Mac::wire, index), nic));
    host.ip.push_back(fmt::format("neigh replace {} lladdr {} dev br0", wire_address(index), mac(Mac::wire, index)));
    wire.ip.push_back(
        fmt::format("neigh replace {} lladdr {} dev {}", address(kBridgeNet, 1), mac(Mac::bridge, 0), peer));
  } else if (path_ == Path::routed) {
    host.ip.push_back(fmt::format("addr add {} dev {}", with_prefix(kUplinkNet + index, 1), nic));
    host.ip.push_back(
        fmt::format("neigh replace {} lladdr {} dev {}", wire_address(index), mac(Mac::wire, index), nic));
    wire.ip.push_back(fmt::format("neigh replace {} lladdr {} dev {}", address(kUplinkNet + index, 1),
                                  mac(Mac::uplink, index), peer));
  }
  if (index == 0 && path_ != Path::bridged) {
    wire.ip.push_back(fmt::format("route add {} via {}", options().family == Family::v4 ? "10.99.0.0/16" : "fd99::/48",
                                  address(kUplinkNet, 1)));
  }
  if (!options().mq_tbf.empty()) add_tbf(nic);
}

void Draft::join_uplink_vxlan(unsigned index) {
  const bool v4 = options().family == Family::v4;
  const auto under = [&](unsigned host) {
    return v4 ? fmt::format("10.98.{}.{}", index, host) : fmt::format("fd98:0:0:{:x}::{:x}", index, host);
  };
  struct End {
    NamespacePlan& netns;
    std::string dev;
    unsigned host;
    Mac own, peer, own_under, peer_under;
  };
  const std::string tunnel = fmt::format("vx{}", index);
  for (const End& end : {End{blueprint_.namespaces[0], series_name(options().nic_name, index), 1, Mac::tunnel_host,
                             Mac::tunnel_wire, Mac::uplink, Mac::wire},
                         End{blueprint_.namespaces[1], fmt::format("w{}", index), 2, Mac::tunnel_wire, Mac::tunnel_host,
                             Mac::wire, Mac::uplink}}) {
    std::vector<std::string>& ip = end.netns.ip;
    const unsigned far = 3 - end.host;
    ip.push_back(fmt::format("addr add {}{} dev {}", under(end.host), v4 ? "/24" : "/64 nodad", end.dev));
    ip.push_back(fmt::format("neigh replace {} lladdr {} dev {}", under(far), mac(end.peer_under, index), end.dev));
    ip.push_back(fmt::format("link add {} address {} type vxlan id {} dstport 4789 local {} remote {} dev {}", tunnel,
                             mac(end.own, index), kVni + index, under(end.host), under(far), end.dev));
    ip.push_back(fmt::format("link set {} up", tunnel));
    ip.push_back(fmt::format("addr add {} dev {}", with_prefix(kUplinkNet + index, end.host), tunnel));
    ip.push_back(fmt::format("neigh replace {} lladdr {} dev {}", address(kUplinkNet + index, far),
                             mac(end.peer, index), tunnel));
    blueprint_.devices.push_back({end.netns.name, tunnel, "tunnel", 1});
  }
}

void Draft::add_tbf(const std::string& dev) {
  const std::uint64_t rate_bps = parse_rate_bps(options().mq_tbf).value_or(0);
  // The bucket must hold what arrives in one timer tick of a kernel with HZ=100.
  const std::uint64_t burst_bytes = std::max<std::uint64_t>(32'768, rate_bps / 8 / 100);
  std::vector<std::string>& tc = blueprint_.namespaces[0].tc;
  tc.push_back(fmt::format("qdisc replace dev {} root handle 1: mq", dev));
  for (unsigned queue = 1; queue <= options().queues; ++queue) {
    tc.push_back(fmt::format("qdisc replace dev {} parent 1:{:x} tbf rate {} burst {} limit {}", dev, queue,
                             options().mq_tbf, burst_bytes, 2 * burst_bytes));
  }
}

void Draft::add_wire_sink() {
  // Port 9 is discard (RFC 863): dropped before the stack could answer with an error.
  blueprint_.namespaces[1].shell.push_back(
      "nft 'add table inet lab; add chain inet lab sink { type filter hook prerouting priority -300; }; "
      "add rule inet lab sink udp dport 9 drop; add rule inet lab sink tcp dport 9 drop'");
}

std::string Draft::port_name(bool tap) {
  const auto index = static_cast<unsigned>(workloads_.size());
  if (!options().port_name.empty()) return series_name(options().port_name, index);
  return tap ? "tap0" : fmt::format("pv{}", index);
}

unsigned Draft::add_pod(unsigned queues) {
  const std::string role = pods_ == 0 ? "pod" : fmt::format("pod{}", pods_ + 1);
  ++pods_;
  Workload workload{add_namespace(role), static_cast<unsigned>(workloads_.size()) + 1, port_name(false), queues, false};
  const unsigned net = workload.net;
  NamespacePlan& pod = blueprint_.namespaces[workload.netns];
  pod.links.push_back(
      veth_line({"eth0", mac(Mac::pod, net)}, {workload.port, mac(Mac::port, net)}, host().name, queues));
  pod.ip.push_back("link set eth0 up");
  pod.ip.push_back(fmt::format("addr add {} dev eth0", with_prefix(net, 2)));
  if (path_ == Path::bridged) {
    for (unsigned i = 0; i < options().nics; ++i) {
      pod.ip.push_back(fmt::format("neigh replace {} lladdr {} dev eth0", wire_address(i), mac(Mac::wire, i)));
    }
  } else {
    pod.ip.push_back(fmt::format("neigh replace {} lladdr {} dev eth0", address(net, 1), mac(Mac::port, net)));
    // Room for the tunnel's header, so that nothing has to be fragmented on the way.
    pod.ip.push_back(fmt::format("route add {} via {}{}", options().family == Family::v4 ? "0.0.0.0/0" : "::/0",
                                 address(net, 1), path_ == Path::vxlan ? " mtu 1400" : ""));
  }
  blueprint_.devices.push_back({pod.name, "eth0", "workload", queues});
  join_port(workload, mac(Mac::pod, net));
  workloads_.push_back(std::move(workload));
  return static_cast<unsigned>(workloads_.size()) - 1;
}

unsigned Draft::add_tap(unsigned queues) {
  Workload workload{0, static_cast<unsigned>(workloads_.size()) + 1, port_name(true), queues, true};
  host().links.push_back(fmt::format("tuntap add dev {} mode tap{}", workload.port, queues > 1 ? " multi_queue" : ""));
  host().ip.push_back(fmt::format("link set {} address {}", workload.port, mac(Mac::tap, workload.net)));
  join_port(workload, mac(Mac::guest, workload.net));
  workloads_.push_back(std::move(workload));
  return static_cast<unsigned>(workloads_.size()) - 1;
}

void Draft::join_port(const Workload& workload, const std::string& guest_mac) {
  NamespacePlan& wire = blueprint_.namespaces[1];
  host().ip.push_back(fmt::format("link set {} up", workload.port));
  if (path_ == Path::bridged) {
    host().ip.push_back(fmt::format("link set {} master br0", workload.port));
    host().bridge.push_back(fmt::format("fdb replace {} dev {} master static", guest_mac, workload.port));
    wire.ip.push_back(fmt::format("neigh replace {} lladdr {} dev w0", address(workload.net, 2), guest_mac));
  } else {
    host().ip.push_back(fmt::format("addr add {} dev {}", with_prefix(workload.net, 1), workload.port));
    host().ip.push_back(
        fmt::format("neigh replace {} lladdr {} dev {}", address(workload.net, 2), guest_mac, workload.port));
  }
  blueprint_.devices.push_back({host().name, workload.port, workload.tap ? "tap" : "port", workload.queues});
}

void Draft::add_bystanders() {
  for (unsigned i = 1; i < options().pods; ++i) add_pod(1);
}

unsigned Draft::senders() const {
  return static_cast<unsigned>(workloads_.size()) + (options().host_traffic ? 1 : 0);
}

void Draft::add_traffic(unsigned default_flows, std::optional<unsigned> cpu) {
  const Options& wanted = options();
  const bool shaped = !wanted.mq_tbf.empty();
  const bool tcp = wanted.l4 == L4::tcp;
  std::uint64_t pps = wanted.pps == 0 ? kDefaultPps : wanted.pps;
  if (shaped && wanted.pps == 0) {
    // Half more than what the leaves let through; TCP finds the rate itself.
    const double leaf_bps = static_cast<double>(parse_rate_bps(wanted.mq_tbf).value_or(0));
    pps = tcp ? 0 : static_cast<std::uint64_t>(1.5 * leaf_bps * wanted.queues / (8.0 * kFullPayload));
  }
  unsigned many = std::max(tcp ? 256U : 512U, 16 * wanted.queues);
  if (tcp && shaped) many = std::max(64U, 8 * wanted.queues);
  const unsigned flows = wanted.flows != 0 ? wanted.flows : (default_flows != 0 ? default_flows : many);
  if (tcp) {
    TrafficPlan sink{.kind = TrafficKind::tcp_sink, .netns = blueprint_.at("wire").name, .label = "wire", .cpu = cpu};
    blueprint_.traffic.push_back(std::move(sink));
  }
  const double others = senders() - 1;
  const double share = others > 0 ? kCulpritWeight : 1;
  const auto other_pps = static_cast<std::uint64_t>(others > 0 ? static_cast<double>(pps) * (1 - share) / others : 0);
  for (std::size_t i = 0; i + 1 < workloads_.size(); ++i) send(workloads_[i], other_pps, many, true, cpu);
  if (wanted.host_traffic) send_from_host(other_pps, many, cpu);
  send(workloads_.back(), static_cast<std::uint64_t>(static_cast<double>(pps) * share), flows, false, cpu);
  if (wanted.latency) add_latency_probe(cpu);
}

void Draft::send(const Workload& workload, std::uint64_t pps, unsigned flows, bool every_uplink,
                 std::optional<unsigned> cpu) {
  TrafficPlan plan{.kind = options().l4 == L4::tcp ? TrafficKind::tcp_bulk : TrafficKind::udp_flows,
                   .netns = blueprint_.namespaces[workload.netns].name,
                   .label = blueprint_.namespaces[workload.netns].role,
                   .flows = flows,
                   .pps = pps,
                   .payload_bytes = options().mq_tbf.empty() ? kSmallPayload : kFullPayload,
                   .cpu = cpu};
  for (unsigned i = 0; i < (every_uplink ? options().nics : 1); ++i) plan.destinations.push_back(wire_address(i));
  if (workload.tap) return send_tap(std::move(plan), workload);
  // Inside the tunnel a full segment would not fit.
  if (path_ == Path::vxlan) plan.payload_bytes = std::min(plan.payload_bytes, 1300U);
  blueprint_.traffic.push_back(std::move(plan));
}

void Draft::send_tap(TrafficPlan plan, const Workload& workload) {
  plan.kind = TrafficKind::tap_frames;
  plan.label = workload.port;
  // Nobody answers these frames, so nothing but the clock holds them back.
  if (plan.pps == 0) plan.pps = kDefaultPps;
  plan.l4 = options().l4;
  plan.tap = workload.port;
  plan.tap_queues = workload.queues;
  plan.source = address(workload.net, 2);
  plan.source_mac = mac(Mac::guest, workload.net);
  plan.destination_mac = path_ == Path::bridged ? mac(Mac::wire, 0) : mac(Mac::tap, workload.net);
  if (path_ == Path::vxlan) plan.payload_bytes = std::min(plan.payload_bytes, 1300U);
  blueprint_.traffic.push_back(std::move(plan));
}

void Draft::send_from_host(std::uint64_t pps, unsigned flows, std::optional<unsigned> cpu) {
  send(Workload{}, pps, flows, true, cpu);
}

void Draft::add_latency_probe(std::optional<unsigned> cpu) {
  const Workload& last = workloads_.back();
  const NamespacePlan& from = blueprint_.namespaces[last.netns];
  TrafficPlan echo{.kind = TrafficKind::udp_echo, .netns = blueprint_.at("wire").name, .label = "echo", .cpu = cpu};
  TrafficPlan probe{.kind = TrafficKind::request_response,
                    .netns = from.name,
                    .label = "probe",
                    .destinations = {wire_address(0)},
                    .pps = 100,
                    .payload_bytes = kSmallPayload,
                    .cpu = cpu};
  blueprint_.traffic.insert(blueprint_.traffic.begin(), std::move(echo));
  blueprint_.traffic.push_back(std::move(probe));
}

std::string Draft::uplink_ref() const {
  return blueprint_.namespaces[0].name + "/" + options().nic_name;
}

std::string Draft::culprit_ref() const {
  return blueprint_.namespaces[0].name + "/" + culprit_port();
}

std::vector<double> Draft::mixed_shares(const std::vector<double>& culprit_shares) const {
  const bool alone = senders() == 1;
  const double rest = alone ? 0 : (1 - kCulpritWeight) / options().nics;
  const double own = alone ? 1 : kCulpritWeight;
  std::vector<double> mixed;
  for (const double share : culprit_shares) {
    mixed.push_back((own * share + rest / options().queues) / (own + rest));
  }
  return mixed;
}

void Draft::expect_from_shares(const std::vector<double>& shares, std::vector<std::string> causes) {
  double squares = 0;
  for (const double share : shares) squares += share * share;
  const double used = 1 / squares / static_cast<double>(shares.size());
  const auto busy = std::ranges::count_if(shares, [](double share) { return share > 0.01; });
  Expectation& expect = blueprint_.expect;
  expect.tx_shares = shares;
  // The thresholds of the rule: half of the queues wasted is a collapse, a fifth a skew. Near a threshold both are
  // right.
  constexpr double kMargin = 0.04;
  if (used < 0.5 + kMargin || busy == 1) expect.findings.push_back("tx-queue-collapse");
  if (used >= 0.5 - kMargin && used < 0.8 + kMargin && busy > 1) expect.findings.push_back("tx-queue-skew");
  if (expect.findings.empty()) return;
  expect.causes = std::move(causes);
  expect.subject = uplink_ref();
}

Blueprint Draft::finish() && {
  return std::move(blueprint_);
}

std::vector<double> multiqueue_veth_shares(unsigned pod_queues, unsigned queues) {
  std::vector<double> shares(queues, 0.0);
  const double part = 1.0 / pod_queues;
  // Pod queue 0: hashes below 1/pod_queues of the range, scaled to `queues`: the overlap of both intervals.
  for (unsigned queue = 0; queue < queues; ++queue) {
    const double low = static_cast<double>(queue) / queues;
    const double high = static_cast<double>(queue + 1) / queues;
    shares[queue] += std::max(0.0, std::min(high, part) - low);
  }
  for (unsigned pod_queue = 1; pod_queue < pod_queues; ++pod_queue) shares[(pod_queue - 1) % queues] += part;
  return shares;
}

std::vector<double> one_queue(unsigned queue, unsigned queues) {
  std::vector<double> shares(queues, 0.0);
  shares[queue] = 1;
  return shares;
}

std::vector<double> even(unsigned queues) {
  return std::vector<double>(queues, 1.0 / queues);
}

}  // namespace weir::lab
