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

Result<std::vector<sys::Fd>> open_flows(const TrafficPlan& plan) {
  std::vector<Endpoint> ends;
  for (const std::string& destination : plan.destinations) {
    auto end = parse_endpoint(destination, kDiscardPort);
    if (!end) return pass(std::move(end));
    ends.push_back(*end);
  }
  std::vector<sys::Fd> sockets;
  for (unsigned i = 0; i < plan.flows; ++i) {
    const Endpoint& end = ends[i % ends.size()];
    sys::Fd socket(::socket(end.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket.valid()) return fail_errno(errno, "socket");
    // The kernel picks a source port of its own for each: as many 5-tuples as sockets.
    if (connect(socket.get(), end.get(), end.size) != 0) return fail_errno(errno, "connect");
    sockets.push_back(std::move(socket));
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
      const int sent = sendmmsg((*sockets)[turn++ % sockets->size()].get(), messages.data(), burst, MSG_DONTWAIT);
      due -= burst;
      if (sent < static_cast<int>(burst)) ++stats.errors;
      if (sent <= 0) continue;
      stats.packets += static_cast<std::uint64_t>(sent);
      stats.bytes += static_cast<std::uint64_t>(sent) * payload.size();
    }
  }
}

}  // namespace weir::lab
