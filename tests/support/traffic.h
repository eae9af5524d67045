// Networks of a test's namespaces and the traffic in them.
#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/namespaces.h"

namespace weir::test {

inline constexpr std::uint16_t kPort = 7000;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

inline Address address(const std::string& text, std::uint16_t port) {
  Address result;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&result.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    result.size = sizeof *v4;
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    result.size = sizeof *v6;
  }
  return result;
}

inline const sockaddr* raw(const Address& of) {
  return reinterpret_cast<const sockaddr*>(&of.storage);
}

inline sys::Fd socket_in(const Namespace& ns, int family, int type) {
  auto made = netns::open_socket(ns.netns(), family, type, 0);
  if (!made) throw std::runtime_error(made.error().message);
  return *std::move(made);
}

inline sys::Fd bound(const Namespace& ns, const Address& at, int type) {
  sys::Fd socket = socket_in(ns, at.storage.ss_family, type);
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), raw(at), at.size) != 0) throw std::runtime_error("cannot bind");
  return socket;
}

/// Sends `bytes` over one TCP connection and waits until both sides have closed it.
inline void tcp_transfer(const Namespace& from, const Namespace& to, const Address& server, std::size_t bytes) {
  const sys::Fd listener = bound(to, server, SOCK_STREAM);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const sys::Fd client = socket_in(from, server.storage.ss_family, SOCK_STREAM);
  ASSERT_EQ(::connect(client.get(), raw(server), server.size), 0);
  const sys::Fd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(peer.valid());
  std::size_t received = 0;
  std::thread reader([&] {
    std::array<char, 65536> chunk{};
    ssize_t got = 0;
    while ((got = ::read(peer.get(), chunk.data(), chunk.size())) > 0) received += static_cast<std::size_t>(got);
    ::shutdown(peer.get(), SHUT_WR);
  });
  const std::vector<char> data(65536);
  std::size_t sent = 0;
  while (sent < bytes) {
    const ssize_t wrote = ::write(client.get(), data.data(), std::min(data.size(), bytes - sent));
    if (wrote <= 0) break;
    sent += static_cast<std::size_t>(wrote);
  }
  ::shutdown(client.get(), SHUT_WR);
  char byte = 0;
  EXPECT_EQ(::read(client.get(), &byte, 1), 0);
  reader.join();
  EXPECT_EQ(received, bytes);
}

/// Sends datagrams of `bytes` to as many ports from `to` on; `segment` > 0 asks the kernel to cut them (UDP GSO).
inline void udp_send(const Namespace& from, Address to, int datagrams, std::size_t bytes, int segment = 0) {
  const sys::Fd socket = socket_in(from, to.storage.ss_family, SOCK_DGRAM);
  if (segment > 0) {
    ASSERT_EQ(::setsockopt(socket.get(), SOL_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
  }
  const std::vector<char> data(bytes);
  auto* port = &reinterpret_cast<sockaddr_in*>(&to.storage)->sin_port;  // the same place in sockaddr_in6
  for (int i = 0; i < datagrams; ++i) {
    *port = htons(static_cast<std::uint16_t>(kPort + 1 + i));
    ASSERT_EQ(::sendto(socket.get(), data.data(), data.size(), 0, raw(to), to.size), std::ssize(data));
  }
}

/// A pair of devices between two namespaces, up.
inline void pair(const Namespace& a, const std::string& dev_a, const Namespace& b, const std::string& dev_b, int queues,
                 const std::string& extra_a = {}, const std::string& extra_b = {}) {
  for (const Namespace* ns : {&a, &b}) {
    ns->sysctl("ipv6/conf/default/accept_dad", "0");  // addresses serve at once
    // What IPv6 says by itself it says at once, and not in the middle of what is counted.
    ns->sysctl("ipv6/conf/default/router_solicitations", "0");
    ns->sysctl("ipv6/conf/default/mldv2_unsolicited_report_interval", "1");
  }
  a.ip(
      fmt::format("link add {0} {4} numtxqueues {3} numrxqueues {3} type veth peer name {1} {5} numtxqueues {3} "
                  "numrxqueues {3} netns {2}\nlink set {0} up\n",
                  dev_a, dev_b, b.path(), queues, extra_a, extra_b));
  b.ip(fmt::format("link set {0} up\n", dev_b));
}

/// sender s0 -- r0 router r1 (4 queues) -- k0 receiver, both families, neighbours resolved by the kernel.
struct Routed {
  Namespace sender;
  Namespace router;
  Namespace receiver;
};

inline void connect(const Routed& net) {
  net.router.sysctl("ipv4/ip_forward", "1");
  net.router.sysctl("ipv6/conf/all/forwarding", "1");
  net.router.ip(
      "addr add 10.9.1.1/24 dev r0\naddr add 10.9.2.1/24 dev r1\n"
      "addr add fd09:1::1/64 dev r0 nodad\naddr add fd09:2::1/64 dev r1 nodad\n");
  net.sender.ip(
      "addr add 10.9.1.2/24 dev s0\naddr add fd09:1::2/64 dev s0 nodad\n"
      "route add default via 10.9.1.1\nroute add default via fd09:1::1\n");
  net.receiver.ip(
      "addr add 10.9.2.2/24 dev k0\naddr add fd09:2::2/64 dev k0 nodad\n"
      "route add default via 10.9.2.1\nroute add default via fd09:2::1\n");
}

}  // namespace weir::test
