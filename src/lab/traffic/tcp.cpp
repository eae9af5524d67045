// TCP streams from real sockets, paced by the clock or as fast as the path takes them, and the sink that counts them.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <vector>

#include "lab/traffic/endpoint.h"
#include "lab/traffic/generator.h"
#include "lab/traffic/pacer.h"

namespace weir::lab {

namespace {

constexpr int kConnectTimeoutMs = 5'000;

/// Starts all connections at once; a congested path makes each slow, together they take no longer.
Result<std::vector<sys::Fd>> connect_all(const TrafficPlan& plan) {
  std::vector<sys::Fd> sockets;
  for (unsigned i = 0; i < plan.flows; ++i) {
    auto end = parse_endpoint(plan.destinations[i % plan.destinations.size()], plan.port == 0 ? kBulkPort : plan.port);
    if (!end) return pass(std::move(end));
    sys::Fd socket(::socket(end->family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.valid()) return fail_errno(errno, "socket");
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(socket.get(), end->get(), end->size) != 0 && errno != EINPROGRESS) return fail_errno(errno, "connect");
    sockets.push_back(std::move(socket));
  }
  for (const sys::Fd& socket : sockets) {
    pollfd wait{socket.get(), POLLOUT, 0};
    int error = 0;
    socklen_t size = sizeof(error);
    if (poll(&wait, 1, kConnectTimeoutMs) <= 0) return fail(Errc::failed, "a TCP connection was not answered in 5 s");
    getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return fail_errno(error, "connect");
  }
  return sockets;
}

/// Writes once; a full socket is no error, a broken one is closed.
void write_once(sys::Fd& socket, const std::vector<char>& payload, Stats& stats) {
  if (!socket.valid()) return;
  const ssize_t sent = send(socket.get(), payload.data(), payload.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) {
    ++stats.packets;
    stats.bytes += static_cast<std::uint64_t>(sent);
  } else if (errno != EAGAIN && errno != EINTR) {
    ++stats.errors;
    socket.reset();
  }
}

Result<void> send_paced(std::vector<sys::Fd>& sockets, const TrafficPlan& plan, Stats& stats) {
  auto pacer = Pacer::start(plan.pps);
  if (!pacer) return pass(std::move(pacer));
  const std::vector<char> payload(plan.payload_bytes, 'w');
  stats.ready = true;
  std::size_t turn = 0;
  for (;;) {
    for (std::uint64_t due = pacer->wait(); due > 0; --due)
      write_once(sockets[turn++ % sockets.size()], payload, stats);
  }
}

Result<void> send_freely(std::vector<sys::Fd>& sockets, Stats& stats) {
  sys::Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    epoll_event event{.events = EPOLLOUT, .data = {.u64 = i}};
    if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, sockets[i].get(), &event) != 0) return fail_errno(errno, "epoll_ctl");
  }
  const std::vector<char> payload(16 * 1024, 'w');
  std::array<epoll_event, 64> events;
  stats.ready = true;
  for (;;) {
    const int ready = epoll_wait(epoll.get(), events.data(), events.size(), -1);
    for (int i = 0; i < ready; ++i) write_once(sockets[events[static_cast<std::size_t>(i)].data.u64], payload, stats);
  }
}

}  // namespace

Result<void> send_tcp_bulk(const TrafficPlan& plan, Stats& stats) {
  auto sockets = connect_all(plan);
  if (!sockets) return pass(std::move(sockets));
  return plan.pps == 0 ? send_freely(*sockets, stats) : send_paced(*sockets, plan, stats);
}

Result<void> receive_tcp(const TrafficPlan& plan, Stats& stats) {
  auto listener = bind_any(SOCK_STREAM | SOCK_NONBLOCK, plan.port == 0 ? kBulkPort : plan.port);
  if (!listener) return pass(std::move(listener));
  if (listen(listener->get(), 4096) != 0) return fail_errno(errno, "listen");
  sys::Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener->get()}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, listener->get(), &event) != 0) return fail_errno(errno, "epoll_ctl");
  std::array<epoll_event, 64> events;
  stats.ready = true;
  for (;;) {
    const int ready = epoll_wait(epoll.get(), events.data(), events.size(), -1);
    for (int i = 0; i < ready; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listener->get()) {
        epoll_event added{.events = EPOLLIN, .data = {.fd = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC)}};
        if (added.data.fd >= 0) epoll_ctl(epoll.get(), EPOLL_CTL_ADD, added.data.fd, &added);
        continue;
      }
      // MSG_TRUNC: the bytes are acknowledged and thrown away without a copy.
      const ssize_t got = recv(fd, nullptr, 1 << 20, MSG_TRUNC | MSG_DONTWAIT);
      if (got > 0) {
        ++stats.packets;
        stats.bytes += static_cast<std::uint64_t>(got);
      } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        close(fd);
      }
    }
  }
}

}  // namespace weir::lab
