// Many UDP flows from real sockets: one connected socket a flow, sent to in turn in short bursts.
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "lab/traffic/endpoint.h"
#include "lab/traffic/generator.h"
#include "lab/traffic/pacer.h"

namespace weir::lab {

namespace {

constexpr unsigned kBurst = 4;  // packets a flow sends when its turn comes

/// The Don't Fragment bit without path MTU discovery: what the network says of its MTU changes nothing, so every packet
/// meets the narrow place (ip(7), IP_PMTUDISC_PROBE).
Result<void> never_fragment(const sys::Fd& socket, int family) {
  static_assert(IP_PMTUDISC_PROBE == IPV6_PMTUDISC_PROBE);
  const int mode = IP_PMTUDISC_PROBE;
  const int done = family == AF_INET ? setsockopt(socket.get(), IPPROTO_IP, IP_MTU_DISCOVER, &mode, sizeof(mode))
                                     : setsockopt(socket.get(), IPPROTO_IPV6, IPV6_MTU_DISCOVER, &mode, sizeof(mode));
  if (done != 0) return fail_errno(errno, "switching fragmentation off");
  return {};
}

Result<sys::Fd> open_flow(const TrafficPlan& plan, const Endpoint& end) {
  sys::Fd socket(::socket(end.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail_errno(errno, "socket");
  if (!plan.source.empty()) {
    auto own = parse_endpoint(plan.source, 0);
    if (!own) return pass(std::move(own));
    if (bind(socket.get(), own->get(), own->size) != 0) return fail_errno(errno, "binding to " + plan.source);
  }
  if (plan.dont_fragment) {
    if (auto ok = never_fragment(socket, end.family()); !ok) return pass(std::move(ok));
  }
  // The kernel picks a source port of its own for each: as many 5-tuples as sockets.
  if (connect(socket.get(), end.get(), end.size) != 0) return fail_errno(errno, "connect");
  return socket;
}

Result<std::vector<sys::Fd>> open_flows(const TrafficPlan& plan) {
  std::vector<Endpoint> ends;
  for (const std::string& destination : plan.destinations) {
    auto end = parse_endpoint(destination, plan.port == 0 ? kDiscardPort : plan.port);
    if (!end) return pass(std::move(end));
    ends.push_back(*end);
  }
  std::vector<sys::Fd> sockets;
  for (unsigned i = 0; i < plan.flows; ++i) {
    auto socket = open_flow(plan, ends[i % ends.size()]);
    if (!socket) return pass(std::move(socket));
    sockets.push_back(std::move(*socket));
  }
  return sockets;
}

}  // namespace

Result<void> send_udp_flows(const TrafficPlan& plan, Stats& stats) {
  auto sockets = open_flows(plan);
  if (!sockets) return pass(std::move(sockets));
  auto pacer = Pacer::start(std::max<std::uint64_t>(1, plan.pps));
  if (!pacer) return pass(std::move(pacer));
  std::vector<char> payload(plan.payload_bytes, 'w');
  iovec part{payload.data(), payload.size()};
  std::array<mmsghdr, kBurst> messages{};
  for (mmsghdr& message : messages) {
    message.msg_hdr.msg_iov = &part;
    message.msg_hdr.msg_iovlen = 1;
  }
  stats.ready = true;
  std::size_t turn = 0;
  for (;;) {
    for (std::uint64_t due = pacer->wait(); due > 0;) {
      const auto burst = static_cast<unsigned>(std::min<std::uint64_t>(due, kBurst));
      const int socket = (*sockets)[turn++ % sockets->size()].get();
      int sent = sendmmsg(socket, messages.data(), burst, MSG_DONTWAIT);
      // The network's complaint about an earlier packet is delivered by refusing the next one.
      if (sent < 0) sent = sendmmsg(socket, messages.data(), burst, MSG_DONTWAIT);
      due -= burst;
      if (sent < static_cast<int>(burst)) ++stats.errors;
      if (sent <= 0) continue;
      stats.packets += static_cast<std::uint64_t>(sent);
      stats.bytes += static_cast<std::uint64_t>(sent) * payload.size();
    }
  }
}

}  // namespace weir::lab
