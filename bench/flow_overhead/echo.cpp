#include "echo.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "netns/netns.h"
#include "pinned.h"

namespace weir::bench {

namespace {

constexpr std::size_t kConnections = 128;
constexpr std::uint16_t kEchoPort = 7007;
using Message = std::array<std::byte, 64>;

Result<sys::Fd> tcp_socket(const test::Namespace& in) {
  auto socket = netns::open_socket(in.netns(), AF_INET, SOCK_STREAM, 0);
  if (!socket) return socket;
  const int on = 1;
  ::setsockopt(socket->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return socket;
}

bool send_message(const sys::Fd& to) {
  const Message message{};
  return ::send(to.get(), message.data(), message.size(), MSG_NOSIGNAL) == std::ssize(message);
}

bool receive_message(const sys::Fd& from) {
  Message message;
  return ::recv(from.get(), message.data(), message.size(), MSG_WAITALL) == std::ssize(message);
}

}  // namespace

Result<EchoNetwork> EchoNetwork::build() {
  EchoNetwork network;
  for (const test::Namespace* ns : {&network.client_, &network.server_})
    ns->sysctl("ipv6/conf/default/disable_ipv6", "1");
  network.client_.ip("link add c0 type veth peer name d0 netns " + network.server_.path() +
                     "\naddr add 10.0.3.1/24 dev c0\nlink set c0 up\n");
  network.server_.ip("addr add 10.0.3.2/24 dev d0\nlink set d0 up\n");
  if (auto connected = network.connect_all(); !connected) return pass(std::move(connected));
  return network;
}

Result<void> EchoNetwork::connect_all() {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(kEchoPort);
  to.sin_addr.s_addr = htonl(0x0A000302);
  const auto* address = reinterpret_cast<const sockaddr*>(&to);
  auto listener = tcp_socket(server_);
  if (!listener) return pass(std::move(listener));
  if (::bind(listener->get(), address, sizeof to) != 0 || ::listen(listener->get(), kConnections) != 0)
    return fail_errno(errno, "cannot listen");
  for (std::size_t i = 0; i < kConnections; ++i) {
    auto client = tcp_socket(client_);
    if (!client) return pass(std::move(client));
    if (::connect(client->get(), address, sizeof to) != 0) return fail_errno(errno, "cannot connect");
    sys::Fd server(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!server.valid()) return fail_errno(errno, "cannot accept");
    const int on = 1;
    ::setsockopt(server.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    clients_.push_back(*std::move(client));
    servers_.push_back(std::move(server));
  }
  return {};
}

Result<void> EchoNetwork::exchange(std::uint64_t requests) const {
  bool good = true;
  for (std::uint64_t done = 0; good && done < requests; done += clients_.size()) {
    for (const sys::Fd& client : clients_) good = good && send_message(client);
    for (const sys::Fd& server : servers_) good = good && receive_message(server) && send_message(server);
    for (const sys::Fd& client : clients_) good = good && receive_message(client);
  }
  if (!good) return fail_errno(errno, "a connection of the measurement broke");
  return {};
}

Result<std::vector<EchoSeries>> measure_echo(const EchoNetwork& network, const std::vector<Variant>& variants,
                                             int rounds, std::uint64_t requests, int cpu,
                                             const std::function<bool()>& stopped) {
  const CpuTime time(cpu);
  std::vector<EchoSeries> all;
  for (const Variant& variant : variants) all.push_back({.name = variant.name});
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < variants.size(); ++i) {
      if (stopped()) return fail(Errc::failed, "interrupted");
      if (!all[i].absent.empty()) continue;
      const auto owner = variants[i].attach();
      if (!owner) {
        all[i].absent = owner.error().message;
        continue;
      }
      const auto pinned = Pinned::on(cpu);
      if (!pinned) return std::unexpected(pinned.error());
      if (auto warm = network.exchange(requests / 16); !warm) return pass(std::move(warm));
      const std::uint64_t start = time.ns();
      if (auto done = network.exchange(requests); !done) return pass(std::move(done));
      all[i].ns_per_request.push_back(static_cast<double>(time.ns() - start) / static_cast<double>(requests));
      all[i].loss_pct.push_back(100 * (1 - all[0].ns_per_request.back() / all[i].ns_per_request.back()));
    }
  }
  return all;
}

}  // namespace weir::bench
