// Many namespaces on one epoll.
#include "netns/reactor.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "netns/echo.h"
#include "support/netns_fixture.h"

namespace weir::netns {
namespace {

using test::kernel_here;
using ::testing::ElementsAre;

class NetnsReactor : public test::NetnsFixture {};

/// A blocking client in `ns`, connected.
Fd connect_in(const Netns& ns, const Endpoint& to) {
  auto socket = open_socket(ns, to.address.find(':') == std::string::npos ? AF_INET : AF_INET6, SOCK_STREAM, 0);
  if (!socket) throw std::runtime_error(socket.error().message);
  const timeval limit{20, 0};
  ::setsockopt(socket->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  int connected = -1;
  if (to.address.find(':') == std::string::npos) {
    sockaddr_in address{AF_INET, htons(to.port), {}, {}};
    ::inet_pton(AF_INET, to.address.c_str(), &address.sin_addr);
    connected = ::connect(socket->get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } else {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(to.port);
    ::inet_pton(AF_INET6, to.address.c_str(), &address.sin6_addr);
    connected = ::connect(socket->get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  if (connected != 0) throw std::runtime_error("connect");
  return std::move(*socket);
}

std::string read_exactly(int fd, std::size_t size) {
  std::string text(size, '\0');
  std::size_t at = 0;
  while (at < size) {
    const ssize_t got = ::recv(fd, text.data() + at, size - at, 0);
    if (got <= 0) break;
    at += static_cast<std::size_t>(got);
  }
  text.resize(at);
  return text;
}

/// A reactor with an echo service on a thread of its own.
class Server {
 public:
  Server() : reactor_(std::move(Reactor::create().value())), echo_(*reactor_) {}
  ~Server() {
    reactor_->stop();
    if (thread_.joinable()) thread_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  EchoService& echo() { return echo_; }
  void start() {
    thread_ = std::thread([this] { EXPECT_TRUE(reactor_->run()); });
  }

 private:
  std::unique_ptr<Reactor> reactor_;
  EchoService echo_;
  std::thread thread_;
};

TEST_F(NetnsReactor, ThreeTenantsWithOneAddressEachGetTheirOwnAnswer) {
  for (const Endpoint& endpoint : {Endpoint{"10.0.0.1", 7777}, Endpoint{"fd00::1", 7777}}) {
    Server server;
    std::vector<Netns> tenants;
    for (const std::string word : {"red", "green", "blue"}) {
      const std::string full = name(word);
      tenants.push_back(value(Netns::create_named(full)));
      const bool v6 = endpoint.address.find(':') != std::string::npos;
      const std::string add = "ip -n " + full + " addr add " + endpoint.address + (v6 ? "/128 nodad" : "/32");
      ASSERT_EQ(::system((add + " dev lo").c_str()), 0);
      const auto bound = server.echo().serve(tenants.back(), endpoint, word + ":");
      ASSERT_TRUE(bound) << bound.error().message;
    }
    server.start();
    for (int round = 0; round < 3; ++round) {
      std::vector<Fd> clients;
      for (const Netns& tenant : tenants) clients.push_back(connect_in(tenant, endpoint));
      for (const Fd& client : clients) ASSERT_EQ(::send(client.get(), "hello", 5, 0), 5);
      EXPECT_EQ(read_exactly(clients[0].get(), 9), "red:hello");
      EXPECT_EQ(read_exactly(clients[1].get(), 11), "green:hello");
      EXPECT_EQ(read_exactly(clients[2].get(), 10), "blue:hello");
    }
    for (const Netns& tenant : tenants) ASSERT_TRUE(tenant.fd() >= 0);
    for (const std::string word : {"red", "green", "blue"}) ASSERT_TRUE(Netns::remove_named(name(word)));
  }
}

TEST_F(NetnsReactor, WhatAClientDoesNotReadIsKeptForIt) {
  Server server;
  const Netns ns = make();
  const Endpoint endpoint = value(server.echo().serve(ns, {"127.0.0.1", 0}));
  server.start();
  const Fd client = connect_in(ns, endpoint);
  std::string sent(8 << 20, '\0');
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 2654435761U >> 24);
  std::thread sender([&] {
    for (std::size_t at = 0; at < sent.size();) {
      const ssize_t done = ::send(client.get(), sent.data() + at, sent.size() - at, MSG_NOSIGNAL);
      if (done <= 0) return;
      at += static_cast<std::size_t>(done);
    }
  });
  const std::string got = read_exactly(client.get(), sent.size());
  sender.join();
  EXPECT_TRUE(got == sent);
}

TEST_F(NetnsReactor, AClientIsRefusedWhenDescriptorsRunOut) {
  Server server;
  const Netns ns = make();
  const Endpoint endpoint = value(server.echo().serve(ns, {"127.0.0.1", 0}));
  const Fd waiting = connect_in(ns, endpoint);  // in the backlog: nobody accepts yet
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const Fd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const rlimit few{static_cast<rlim_t>(next.get()) + 1, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  server.start();
  EXPECT_EQ(read_exactly(waiting.get(), 1), "");
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  const Fd served = connect_in(ns, endpoint);
  ASSERT_EQ(::send(served.get(), "x", 1, 0), 1);
  EXPECT_EQ(read_exactly(served.get(), 1), "x");
}

/// Notes where its handler ran.
class Probe final : public Source {
 public:
  Probe(std::vector<std::uint64_t>& seen, const Netns* visits)
      : Source(Fd(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)), visits), seen_(seen) {}
  void ready(std::uint32_t /*events*/) override {
    std::uint64_t count = 0;
    EXPECT_EQ(::read(fd(), &count, sizeof count), 8);
    seen_.push_back(kernel_here());
    if (then) then();
  }
  void unreachable(const Error& /*why*/) override { seen_.push_back(0); }
  std::function<void()> then;

 private:
  std::vector<std::uint64_t>& seen_;
};

TEST_F(NetnsReactor, EventsAreBatchedByNamespace) {
  const Netns a = make();
  const Netns b = make();
  auto reactor = value(Reactor::create());
  std::vector<std::uint64_t> seen;
  for (const Netns* where : {&b, &a, static_cast<const Netns*>(nullptr), &b, &a}) {
    ASSERT_TRUE(reactor->add(std::make_unique<Probe>(seen, where), EPOLLIN));
  }
  EXPECT_EQ(value(reactor->run_once()), 5U);
  const std::uint64_t first = std::min(a.id(), b.id());  // ids do not grow with time
  const std::uint64_t second = std::max(a.id(), b.id());
  EXPECT_THAT(seen, ElementsAre(home_, first, first, second, second));
  EXPECT_EQ(kernel_here(), home_);
}

TEST_F(NetnsReactor, AHandlerMayCloseOthersOfTheSameRound) {
  const Netns a = make();
  auto reactor = value(Reactor::create());
  std::vector<std::uint64_t> seen;
  std::vector<Probe*> probes;
  for (int i = 0; i < 4; ++i) {
    auto probe = std::make_unique<Probe>(seen, i < 2 ? nullptr : &a);
    probes.push_back(probe.get());
    ASSERT_TRUE(reactor->add(std::move(probe), EPOLLIN));
  }
  const auto close_all = [&] {
    for (Probe* probe : probes) reactor->close(*probe);
  };
  for (Probe* probe : probes) probe->then = close_all;
  EXPECT_EQ(value(reactor->run_once()), 4U);
  EXPECT_EQ(seen.size(), 1U);
  EXPECT_EQ(reactor->sources(), 0U);
}

TEST_F(NetnsReactor, ASourceWhoseNamespaceCannotBeEnteredIsClosed) {
  const Netns a = make();
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_GE(::dup2(null.get(), a.fd()), 0);
  auto reactor = value(Reactor::create());
  std::vector<std::uint64_t> seen;
  ASSERT_TRUE(reactor->add(std::make_unique<Probe>(seen, &a), EPOLLIN));
  ASSERT_TRUE(reactor->run_once());
  EXPECT_THAT(seen, ElementsAre(0));
  EXPECT_EQ(reactor->sources(), 0U);
}

TEST_F(NetnsReactor, StopIsHeardBeforeRun) {
  auto reactor = value(Reactor::create());
  reactor->stop();
  EXPECT_TRUE(reactor->run());
}

}  // namespace
}  // namespace weir::netns
