// Requests that are answered, and how long that takes.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "lab/traffic/endpoint.h"
#include "lab/traffic/generator.h"
#include "lab/traffic/pacer.h"

namespace weir::lab {

namespace {

constexpr int kReplyTimeoutMs = 250;

std::int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

/// Waits for the reply to `request`; late ones to earlier requests are passed over.
bool await_reply(int socket, std::uint64_t request, std::vector<char>& buffer) {
  const std::int64_t deadline = now_ns() + std::int64_t{kReplyTimeoutMs} * 1'000'000;
  for (;;) {
    const std::int64_t left_ms = (deadline - now_ns()) / 1'000'000;
    pollfd wait{socket, POLLIN, 0};
    if (left_ms <= 0 || poll(&wait, 1, static_cast<int>(left_ms)) <= 0) return false;
    std::uint64_t answered = 0;
    if (recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT) < static_cast<ssize_t>(sizeof(answered))) continue;
    std::memcpy(&answered, buffer.data(), sizeof(answered));
    if (answered == request) return true;
  }
}

}  // namespace

Result<void> echo_udp(const TrafficPlan& plan, Stats& stats) {
  (void)plan;
  auto socket = bind_any(SOCK_DGRAM, kEchoPort);
  if (!socket) return pass(std::move(socket));
  std::array<char, 2048> buffer;
  stats.ready = true;
  for (;;) {
    Endpoint from;
    from.size = sizeof(from.address);
    const ssize_t got = recvfrom(socket->get(), buffer.data(), buffer.size(), 0,
                                 reinterpret_cast<sockaddr*>(&from.address), &from.size);
    if (got < 0) continue;
    if (sendto(socket->get(), buffer.data(), static_cast<std::size_t>(got), 0, from.get(), from.size) < 0) {
      ++stats.errors;
      continue;
    }
    ++stats.packets;
    stats.bytes += static_cast<std::uint64_t>(got);
  }
}

Result<void> request_and_time(const TrafficPlan& plan, Stats& stats) {
  auto end = parse_endpoint(plan.destinations.front(), plan.port == 0 ? kEchoPort : plan.port);
  if (!end) return pass(std::move(end));
  sys::Fd socket(::socket(end->family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail_errno(errno, "socket");
  if (connect(socket.get(), end->get(), end->size) != 0) return fail_errno(errno, "connect");
  auto pacer = Pacer::start(std::max<std::uint64_t>(1, plan.pps));
  if (!pacer) return pass(std::move(pacer));
  std::vector<char> request(std::max<std::size_t>(plan.payload_bytes, sizeof(std::uint64_t)), 'w');
  std::vector<char> reply(request.size());
  stats.ready = true;
  for (std::uint64_t sequence = 1;; ++sequence) {
    pacer->wait();
    std::memcpy(request.data(), &sequence, sizeof(sequence));
    const std::int64_t sent_ns = now_ns();
    if (send(socket.get(), request.data(), request.size(), 0) < 0 || !await_reply(socket.get(), sequence, reply)) {
      ++stats.errors;
      continue;
    }
    stats.latency.add(std::chrono::nanoseconds(now_ns() - sent_ns));
    ++stats.packets;
    stats.bytes += request.size();
  }
}

}  // namespace weir::lab
