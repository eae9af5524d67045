// Receivers that do not do their work, one that does nothing but read, and the connections that pile up before them.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "lab/traffic/endpoint.h"
#include "lab/traffic/generator.h"
#include "lab/traffic/pacer.h"

namespace weir::lab {

namespace {

constexpr std::size_t kOpenConnections = 16;

std::uint16_t port_of(const TrafficPlan& plan) {
  return plan.port == 0 ? kBulkPort : plan.port;
}

[[noreturn]] void idle() {
  for (;;) pause();
}

}  // namespace

Result<void> receive_udp(const TrafficPlan& plan, Stats& stats) {
  auto socket = bind_any(SOCK_DGRAM, port_of(plan));
  if (!socket) return pass(std::move(socket));
  std::array<char, 2048> buffer;
  stats.ready = true;
  for (;;) {
    const ssize_t got = recv(socket->get(), buffer.data(), buffer.size(), 0);
    if (got < 0) continue;
    ++stats.packets;
    stats.bytes += static_cast<std::uint64_t>(got);
  }
}

Result<void> leave_datagrams(const TrafficPlan& plan, Stats& stats) {
  auto socket = bind_any(SOCK_DGRAM, port_of(plan));
  if (!socket) return pass(std::move(socket));
  const int least = 1;  // the kernel makes it SOCK_MIN_RCVBUF, room for a packet or two
  if (setsockopt(socket->get(), SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)) != 0)
    return fail_errno(errno, "SO_RCVBUF");
  stats.ready = true;
  idle();
}

Result<void> leave_connections(const TrafficPlan& plan, Stats& stats) {
  auto listener = bind_any(SOCK_STREAM, port_of(plan));
  if (!listener) return pass(std::move(listener));
  if (listen(listener->get(), 1) != 0) return fail_errno(errno, "listen");
  stats.ready = true;
  idle();
}

Result<void> open_connections(const TrafficPlan& plan, Stats& stats) {
  std::vector<Endpoint> ends;
  for (const std::string& destination : plan.destinations) {
    auto end = parse_endpoint(destination, port_of(plan));
    if (!end) return pass(std::move(end));
    ends.push_back(*end);
  }
  auto pacer = Pacer::start(std::max<std::uint64_t>(1, plan.pps));
  if (!pacer) return pass(std::move(pacer));
  std::array<sys::Fd, kOpenConnections> open;
  stats.ready = true;
  for (std::size_t turn = 0;;) {
    for (std::uint64_t due = pacer->wait(); due > 0; --due, ++turn) {
      const Endpoint& end = ends[turn % ends.size()];
      sys::Fd& socket = open[turn % open.size()];
      socket = sys::Fd(::socket(end.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (!socket.valid()) return fail_errno(errno, "socket");
      if (connect(socket.get(), end.get(), end.size) != 0 && errno != EINPROGRESS) {
        ++stats.errors;
      } else {
        ++stats.packets;
      }
    }
  }
}

}  // namespace weir::lab
