#include "lab/scenarios.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "base/text.h"
#include "lab/draft.h"
#include "lab/scenario_builders.h"

namespace weir::lab {

namespace {

const std::vector<std::string> kRecorded{"recorded-rx-queue"};

std::vector<unsigned> all_cpus(const Options& options) {
  std::vector<unsigned> cpus(options.cpus);
  std::iota(cpus.begin(), cpus.end(), 0U);
  return cpus;
}

std::string write_xps(const std::string& dev, unsigned queue, const std::vector<unsigned>& cpus) {
  return fmt::format("echo {} >/sys/class/net/{}/queues/tx-{}/xps_cpus", cpu_mask(cpus), dev, queue);
}

Result<Blueprint> draw_healthy(const Options& options) {
  Draft draft(options, Path::routed);
  draft.add_bystanders();
  draft.add_pod(1);
  draft.add_traffic();
  draft.expect_from_shares(even(options.queues), {});
  return std::move(draft).finish();
}

// veth with GRO switched on processes in NAPI, which once recorded the receive queue; current kernels do not.
Result<Blueprint> draw_veth_gro(const Options& options) {
  Draft draft(options, Path::routed);
  draft.add_bystanders();
  draft.add_pod(1);
  draft.blueprint().gro_on.emplace_back(draft.host().name, draft.culprit_port());
  draft.add_traffic();
  draft.expect_from_shares(even(options.queues), {});
  return std::move(draft).finish();
}

Result<Blueprint> draw_tap(const Options& options) {
  Draft draft(options, Path::bridged);
  draft.add_bystanders();
  draft.add_tap(1);
  draft.add_traffic();
  draft.expect_from_shares(draft.mixed_shares(one_queue(0, options.queues)), kRecorded);
  draft.blueprint().expect.culprit = draft.culprit_ref();
  return std::move(draft).finish();
}

Result<Blueprint> draw_tap_multiqueue(const Options& options) {
  Draft draft(options, Path::bridged);
  const unsigned queues = options.pod_queues == 0 ? options.queues : options.pod_queues;
  draft.add_bystanders();
  draft.add_tap(queues);
  draft.add_traffic();
  std::vector<double> shares(options.queues, 0.0);
  for (unsigned queue = 0; queue < queues; ++queue) shares[queue % options.queues] += 1.0 / queues;
  draft.expect_from_shares(draft.mixed_shares(shares), kRecorded);
  if (!draft.blueprint().expect.findings.empty()) draft.blueprint().expect.culprit = draft.culprit_ref();
  return std::move(draft).finish();
}

// The pod's own XPS map sends all to its queue 1; the host reads that as "received on queue 0".
Result<Blueprint> draw_pod_xps(const Options& options) {
  const unsigned queues = options.pod_queues == 0 ? 2 : options.pod_queues;
  if (queues < 2) return fail(Errc::usage, "--pod-queues 1: tx-collapse-pod-xps needs a pod with 2 queues or more");
  Draft draft(options, Path::routed);
  draft.add_bystanders();
  draft.add_pod(queues);
  draft.culprit_pod().shell.push_back(write_xps("eth0", 1, all_cpus(options)));
  draft.add_traffic();
  draft.expect_from_shares(draft.mixed_shares(one_queue(0, options.queues)), kRecorded);
  draft.blueprint().expect.culprit = draft.culprit_ref();
  return std::move(draft).finish();
}

Result<Blueprint> draw_injected(const Options& options) {
  Draft draft(options, Path::routed);
  draft.add_bystanders();
  draft.add_pod(1);
  draft.blueprint().injections.push_back({draft.host().name, draft.culprit_port(), 1});
  draft.add_traffic();
  draft.expect_from_shares(draft.mixed_shares(one_queue(0, options.queues)), kRecorded);
  draft.blueprint().expect.culprit = draft.culprit_ref();
  return std::move(draft).finish();
}

Result<Blueprint> draw_multiqueue_veth(const Options& options) {
  const unsigned queues = options.pod_queues == 0 ? options.queues : options.pod_queues;
  if (queues < 2) return fail(Errc::usage, "--pod-queues 1: tx-skew-multiqueue-veth needs a pod with 2 queues or more");
  Draft draft(options, Path::routed);
  draft.add_bystanders();
  draft.add_pod(queues);
  draft.add_traffic(2048);
  draft.expect_from_shares(draft.mixed_shares(multiqueue_veth_shares(queues, options.queues)), kRecorded);
  if (!draft.blueprint().expect.findings.empty()) draft.blueprint().expect.culprit = draft.culprit_ref();
  return std::move(draft).finish();
}

Result<Blueprint> draw_nic_xps(const Options& options) {
  Draft draft(options, Path::routed);
  draft.add_bystanders();
  draft.add_pod(1);
  const unsigned queue = options.queues / 2;
  draft.host().shell.push_back(write_xps(options.nic_name, queue, all_cpus(options)));
  draft.add_traffic();
  draft.expect_from_shares(one_queue(queue, options.queues), {"xps"});
  return std::move(draft).finish();
}

Result<Blueprint> draw_one_active_cpu(const Options& options) {
  Draft draft(options, Path::routed);
  draft.add_bystanders();
  draft.add_pod(1);
  for (unsigned cpu = 0; cpu < std::min(options.cpus, options.queues); ++cpu) {
    draft.host().shell.push_back(write_xps(options.nic_name, cpu, {cpu}));
  }
  const unsigned busy_cpu = std::min(options.cpus, options.queues) - 1;
  draft.add_traffic(0, busy_cpu);
  draft.expect_from_shares(one_queue(busy_cpu, options.queues), {"forwarding-cpu", "xps"});
  return std::move(draft).finish();
}

Result<Blueprint> draw_few(const Options& options, unsigned flows, const char* cause) {
  Draft draft(options, Path::routed);
  draft.add_bystanders();
  draft.add_pod(1);
  draft.add_traffic(flows);
  Expectation& expect = draft.blueprint().expect;
  // Which queues the flows meet on is up to their hashes, so both verdicts are right.
  expect.findings = {"tx-queue-collapse", "tx-queue-skew"};
  expect.causes = {cause};
  expect.subject = draft.uplink_ref();
  return std::move(draft).finish();
}

Result<Blueprint> draw_single_flow(const Options& options) {
  if (options.flows > 1) return fail(Errc::usage, fmt::format("--flows {}: single-flow has one flow", options.flows));
  return draw_few(options, 1, "single-flow");
}

Result<Blueprint> draw_few_flows(const Options& options) {
  if (options.queues < 3) return fail(Errc::usage, "--queues 2: few-flows needs 3 queues or more, else few are enough");
  const unsigned most = options.queues - 1;
  if (options.flows == 1 || options.flows > most) {
    return fail(Errc::usage, fmt::format("--flows {}: few-flows on {} queues has 2 to {} flows", options.flows,
                                         options.queues, most));
  }
  return draw_few(options, std::min(3U, most), "few-flows");
}

constexpr std::array<Scenario, 22> kScenarios{{
    {"healthy", "pod(s), one-queue veth → host (routed, bridged or vxlan) → uplink",
     "Nothing is wrong: the flows spread over all transmit queues of the uplink by their hash.", draw_healthy},
    {"tx-collapse-tap", "guest behind a one-queue TAP → br0 → uplink",
     "All packets leave the uplink by transmit queue 0, because the one-queue TAP records receive queue 0 in them.",
     draw_tap},
    {"tx-collapse-pod-xps", "pod whose two-queue eth0 has an XPS map → host → uplink",
     "All packets leave the uplink by transmit queue 0, because the pod's XPS map chose its queue 1, which the host "
     "reads as recorded receive queue 0.",
     draw_pod_xps},
    {"tx-collapse-injected", "pod → host, tc-bpf at the port's ingress → uplink",
     "All packets leave the uplink by transmit queue 0, because a receive queue is recorded in them where they enter "
     "the host, at the pod's port.",
     draw_injected},
    {"tx-skew-multiqueue-veth", "pod with as many queues as the uplink → host → uplink",
     "The uplink's first transmit queue carries about twice its share and the last nothing, because the pod's own "
     "transmit queue is read as a recorded receive queue.",
     draw_multiqueue_veth},
    {"nic-xps", "pod → host → uplink with an XPS map",
     "All packets leave by one transmit queue, because the uplink's XPS map gives that queue to every CPU.",
     draw_nic_xps},
    {"one-active-cpu", "pod → host → uplink with XPS 1:1, everything on one CPU",
     "All packets leave by one transmit queue, because one CPU forwards everything and the uplink's XPS map gives it "
     "that queue.",
     draw_one_active_cpu},
    {"single-flow", "pod with one flow → host → uplink",
     "All packets leave by one transmit queue, because they are one flow, which is never spread.", draw_single_flow},
    {"few-flows", "pod with three flows → host → uplink",
     "Most transmit queues are idle, because there are fewer flows than queues.", draw_few_flows},
    {"veth-gro", "pod → port with GRO on (NAPI) → host → uplink",
     "Nothing is wrong: GRO on the pod's port records no receive queue on this kernel.", draw_veth_gro},
    {"tap-multiqueue", "guest behind a TAP with as many queues as the uplink → br0 → uplink",
     "Nothing is wrong: the TAP records receive queues, but one for each transmit queue, and all are used alike.",
     draw_tap_multiqueue},
    {"nat", "pod → host: nft dnat of a service address, masquerade → server",
     "Nothing is wrong: the host rewrites both addresses of every packet, and conntrack takes that back in replies.",
     draw_nat, true},
    {"vxlan", "pod → br0, host: nft dnat, vx0 → host2: vx0, br0 → pod2",
     "Nothing is wrong: the first host rewrites the service address and puts the packet into a tunnel to the second.",
     draw_vxlan, true},
    {"bridge", "pod → br0 → pod2, and → br0 → uplink → server",
     "Nothing is wrong: the host's bridge passes frames between its ports, no packet is routed.", draw_bridge, true},
    {"veth-chain", "pod → r1 → r2 → r3 → server", "Nothing is wrong: three routers forward every packet.",
     draw_veth_chain, true},
    {"nft-drop", "pod → host: an nft rule drops port 4444 → server",
     "Packets to port 4444 are dropped in the host's forward hook by the nftables rule in chain services of table inet "
     "lab; all others pass.",
     draw_nft_drop, true},
    {"rp-filter", "pod with an address that the host routes elsewhere → host → server",
     "Packets from the pod's second address are dropped by the host's strict reverse path filter, because the route to "
     "that address leads to the uplink.",
     draw_rp_filter, true},
    {"no-route", "pod → host without a route to four destinations → server",
     "The host has no route to one destination, and routes to three others that say unreachable, blackhole and "
     "prohibit.",
     draw_no_route, true},
    {"mtu", "pod → host → uplink with MTU 1300 → server",
     "Packets of more than 1300 bytes that must not be fragmented are dropped in the host, which tells their sender.",
     draw_mtu, true},
    {"mtu-blackhole", "pod → host → uplink with MTU 1300 → server, the host's ICMP errors blocked",
     "Packets of more than 1300 bytes that must not be fragmented are dropped in the host, and an nftables rule drops "
     "the message that would tell their sender.",
     draw_mtu_blackhole, true},
    {"rcvbuf", "pod → host → server with a UDP socket that nobody reads",
     "Datagrams to port 4500 are dropped at the server's socket, whose receive buffer is full because its program does "
     "not read.",
     draw_rcvbuf, true},
    {"listen-overflow", "pod → host → server with a TCP listener that never accepts",
     "Connections to port 4433 are not answered, because the server's accept queue is full and its program does not "
     "accept.",
     draw_listen_overflow, true},
}};

bool uses_pod_queues(std::string_view name) {
  return name == "tx-collapse-pod-xps" || name == "tx-skew-multiqueue-veth" || name == "tap-multiqueue";
}

/// Scenarios that rest on a receive queue recorded in front of the uplink. A vxlan device has one transmit queue, and
/// netdev_core_pick_tx() overwrites the mapping with 0 there: the fault would be gone before the uplink.
bool rests_on_recorded(std::string_view name) {
  return uses_pod_queues(name) || name == "tx-collapse-tap" || name == "tx-collapse-injected";
}

/// A small network has one of each thing; an option that would be without effect is refused.
Result<void> check_journey_options(std::string_view name, const Options& options) {
  const Options usual;
  const std::array<std::pair<const char*, bool>, 9> useless{{{"--queues", options.queues != usual.queues},
                                                             {"--pods", options.pods != usual.pods},
                                                             {"--nics", options.nics != usual.nics},
                                                             {"--pod-queues", options.pod_queues != usual.pod_queues},
                                                             {"--l4", options.l4 != usual.l4},
                                                             {"--path", options.path != usual.path},
                                                             {"--host-traffic", options.host_traffic},
                                                             {"--latency", options.latency},
                                                             {"--mq-tbf", !options.mq_tbf.empty()}}};
  for (const auto& [option, given] : useless) {
    if (given) return fail(Errc::usage, fmt::format("{} has no meaning in {}", option, name));
  }
  return {};
}

}  // namespace

std::span<const Scenario> scenarios() {
  return kScenarios;
}

std::string cpu_mask(const std::vector<unsigned>& cpus) {
  const unsigned highest = cpus.empty() ? 0 : *std::ranges::max_element(cpus);
  std::vector<std::uint32_t> groups(highest / 32 + 1, 0U);
  for (const unsigned cpu : cpus) groups[cpu / 32] |= 1U << (cpu % 32);
  std::string text;
  for (std::size_t i = groups.size(); i-- > 0;) {
    text += groups.size() == 1 ? fmt::format("{:x}", groups[i]) : fmt::format("{:08x}", groups[i]);
    if (i > 0) text += ',';
  }
  return text;
}

Result<Blueprint> draw(std::string_view scenario, const Options& options) {
  const auto row = std::ranges::find(kScenarios, scenario, &Scenario::name);
  if (row == kScenarios.end()) {
    std::vector<std::string> names;
    for (const Scenario& known : kScenarios) names.emplace_back(known.name);
    return fail(Errc::usage, fmt::format("there is no scenario '{}'", scenario), suggest(scenario, names));
  }
  if (auto ok = check(options); !ok) return pass(std::move(ok));
  if (row->journeys) {
    if (auto ok = check_journey_options(scenario, options); !ok) return pass(std::move(ok));
  }
  if (options.pod_queues != 0 && !uses_pod_queues(scenario)) {
    return fail(Errc::usage, fmt::format("--pod-queues has no meaning in {}", scenario));
  }
  if (options.path == Path::vxlan && rests_on_recorded(scenario)) {
    return fail(Errc::usage,
                fmt::format("--path vxlan: {} would be healthy, a tunnel forgets the recorded queue", scenario),
                "use --path routed or bridged");
  }
  Options filled = options;
  if (filled.cpus == 0) filled.cpus = static_cast<unsigned>(std::max(1L, sysconf(_SC_NPROCESSORS_CONF)));
  Result<Blueprint> blueprint = row->draw(filled);
  if (!blueprint) return blueprint;
  blueprint->scenario = row->name;
  blueprint->truth = row->truth;
  return blueprint;
}

}  // namespace weir::lab
