#include "netns/bench/load.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <span>
#include <string>

namespace weir::netns::bench {

Result<EchoLoad> EchoLoad::create(std::uint64_t seed) {
  sys::Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return fail_errno(errno, "epoll_create1");
  return EchoLoad(std::move(epoll), seed);
}

Result<void> EchoLoad::add(sys::Fd socket) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = clients_.size();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket.get(), &event) != 0) return fail_errno(errno, "epoll_ctl");
  idle_.push_back(clients_.size());
  clients_.push_back({.socket = std::move(socket)});
  return {};
}

Result<void> EchoLoad::send_one() {
  const std::size_t drawn = random_() % idle_.size();
  const std::size_t chosen = idle_[drawn];
  idle_[drawn] = idle_.back();
  idle_.pop_back();
  Client& client = clients_[chosen];
  client.sent = ++echoes_;
  std::array<char, kEchoBytes> text{};
  std::memcpy(text.data(), &client.sent, sizeof client.sent);
  const ssize_t sent = ::send(client.socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  if (sent != std::ssize(text)) return fail_errno(sent < 0 ? errno : EMSGSIZE, "sending an echo");
  return {};
}

Result<void> EchoLoad::receive(std::size_t which) {
  Client& client = clients_[which];
  std::array<char, 2 * kEchoBytes> text;
  const ssize_t got = ::recv(client.socket.get(), text.data(), text.size(), 0);
  if (got < 0) return fail_errno(errno, "receiving an echo");
  std::uint64_t says = 0;
  std::memcpy(&says, text.data(), sizeof says);
  if (got != std::ssize(text) / 2 || says != client.sent) {
    return fail(Errc::failed, "an echo came back wrong: " + std::to_string(got) + " bytes");
  }
  idle_.push_back(which);
  return {};
}

Result<void> EchoLoad::run(std::uint64_t operations, std::size_t outstanding) {
  if (outstanding > clients_.size()) return fail(Errc::usage, "more echoes at a time than connections");
  std::uint64_t to_send = operations;
  std::uint64_t to_come = operations;
  constexpr int kPatienceMs = 10'000;
  std::array<epoll_event, 256> events;
  for (; to_send > 0 && operations - to_send < outstanding; --to_send) {
    if (auto sent = send_one(); !sent) return sent;
  }
  while (to_come > 0) {
    const int got = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), kPatienceMs);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "epoll_wait");
    if (got == 0) return fail(Errc::failed, "the echo server does not answer");
    for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(got))) {
      if (auto received = receive(event.data.u64); !received) return received;
      --to_come;
      if (to_send == 0) continue;
      --to_send;
      if (auto sent = send_one(); !sent) return sent;
    }
  }
  return {};
}

}  // namespace weir::netns::bench
