// What the data plane counts is what the kernel counts: `ip -s link` for packets and bytes, the protocols' own MIBs for
// what goes onto the wire. Where the two differ by nature:
//  - a device counts a packet that its driver refused as dropped, not as sent; the data plane counts every attempt;
//  - receive is counted where net:netif_receive_skb fires: behind GRO, and not for a VLAN device on top of another one,
//    which takes its packets over inside __netif_receive_skb_core().
#include "observe/dataplane/dataplane.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <thread>

#include "observe/queues/queue_reader.h"
#include "support/namespaces.h"
#include "support/process.h"

namespace weir::observe {
namespace {

using test::LinkCounters;
using test::Namespace;

constexpr std::uint16_t kPort = 7000;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Address address(const std::string& text, std::uint16_t port) {
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

const sockaddr* raw(const Address& of) {
  return reinterpret_cast<const sockaddr*>(&of.storage);
}

sys::Fd socket_in(const Namespace& ns, int family, int type) {
  auto made = netns::open_socket(ns.netns(), family, type, 0);
  if (!made) throw std::runtime_error(made.error().message);
  return *std::move(made);
}

sys::Fd bound(const Namespace& ns, const Address& at, int type) {
  sys::Fd socket = socket_in(ns, at.storage.ss_family, type);
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), raw(at), at.size) != 0) throw std::runtime_error("cannot bind");
  return socket;
}

/// Sends `bytes` over one TCP connection and waits until both sides have closed it.
void tcp_transfer(const Namespace& from, const Namespace& to, const Address& server, std::size_t bytes) {
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
void udp_send(const Namespace& from, Address to, int datagrams, std::size_t bytes, int segment = 0) {
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

/// Keeps the thread where it is.
class OnOneCpu {
 public:
  OnOneCpu() {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(::sched_getcpu()), &one);
    ::sched_setaffinity(0, sizeof one, &one);
  }
  OnOneCpu(const OnOneCpu&) = delete;
  OnOneCpu& operator=(const OnOneCpu&) = delete;
  ~OnOneCpu() { ::sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_{};
};

model::QueueCount sum(const std::map<std::uint32_t, model::QueueCount>& rows) {
  model::QueueCount all;
  for (const auto& [queue, row] : rows) {
    all.packets += row.packets;
    all.bytes += row.bytes;
    all.wire_packets += row.wire_packets;
  }
  return all;
}

class DataPlaneTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    auto started = DataPlane::start({});
    ASSERT_TRUE(started) << started.error().message << ' ' << started.error().hint;
    plane_.emplace(*std::move(started));
  }

  /// A pair of devices between two namespaces, up.
  static void pair(const Namespace& a, const std::string& dev_a, const Namespace& b, const std::string& dev_b,
                   int queues, const std::string& extra_a = {}, const std::string& extra_b = {}) {
    for (const Namespace* ns : {&a, &b}) ns->sysctl("ipv6/conf/default/accept_dad", "0");  // addresses serve at once
    a.ip(
        fmt::format("link add {0} {4} numtxqueues {3} numrxqueues {3} type veth peer name {1} {5} numtxqueues {3} "
                    "numrxqueues {3} netns {2}\nlink set {0} up\n",
                    dev_a, dev_b, b.path(), queues, extra_a, extra_b));
    b.ip(fmt::format("link set {0} up\n", dev_b));
  }

  QueueTotals totals() {
    auto read = read_queue_totals(*plane_);
    EXPECT_TRUE(read);
    return read ? *std::move(read) : QueueTotals{};
  }
  DeviceTotals device(const Namespace& ns, std::uint32_t ifindex) { return totals().devices[{ns.id(), ifindex}]; }

  static bool tx_equals(const LinkCounters& link, const model::QueueCount& counted) {
    return counted.packets == link.tx_packets + link.tx_dropped &&
           (link.tx_dropped > 0 || counted.bytes == link.tx_bytes);
  }
  static bool rx_equals(const LinkCounters& link, const model::QueueCount& counted) {
    return counted.packets == link.rx_packets && counted.bytes == link.rx_bytes;
  }

  enum class Sides { both, tx };
  /// Waits until the data plane and the kernel agree on a device: late packets of the protocols may still come.
  void expect_equal(const Namespace& ns, const std::string& dev, Sides sides = Sides::both) {
    LinkCounters link;
    model::QueueCount tx;
    model::QueueCount rx;
    const bool equal = test::eventually([&] {
      link = ns.links().at(dev);
      const DeviceTotals counted = device(ns, link.ifindex);
      tx = sum(counted.tx);
      rx = sum(counted.rx);
      return tx_equals(link, tx) && (sides == Sides::tx || rx_equals(link, rx));
    });
    EXPECT_TRUE(equal) << dev << ": kernel tx " << link.tx_packets << " packets " << link.tx_bytes << " bytes "
                       << link.tx_dropped << " dropped, rx " << link.rx_packets << ' ' << link.rx_bytes
                       << "; counted tx " << tx.packets << ' ' << tx.bytes << ", rx " << rx.packets << ' ' << rx.bytes;
    EXPECT_GT(tx.packets + rx.packets, 0U) << dev;
  }

  std::optional<DataPlane> plane_;
};

/// sender s0 -- r0 router r1 (4 queues) -- k0 receiver, both families, neighbours resolved by the kernel.
struct Routed {
  Namespace sender;
  Namespace router;
  Namespace receiver;
};

void connect(const Routed& net) {
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

TEST_F(DataPlaneTest, ForwardedPacketsBytesAndSegmentsAreTheKernels) {
  const Routed net;
  pair(net.router, "r0", net.sender, "s0", 1);
  pair(net.router, "r1", net.receiver, "k0", 4);
  connect(net);
  const Address server4 = address("10.9.2.2", kPort);
  const Address server6 = address("fd09:2::2", kPort);
  constexpr std::size_t kTcpBytes = 4'000'000;
  tcp_transfer(net.sender, net.receiver, server4, kTcpBytes);
  tcp_transfer(net.sender, net.receiver, server6, kTcpBytes);
  udp_send(net.sender, server4, 200, 18);
  udp_send(net.sender, server6, 200, 900);
  constexpr int kCut = 20;  // datagrams that the kernel may keep whole until the wire
  udp_send(net.sender, server4, kCut, 10'000, 1'000);

  for (const auto& [ns, dev] : {std::pair(&net.sender, "s0"), std::pair(&net.router, "r0"),
                                std::pair(&net.router, "r1"), std::pair(&net.receiver, "k0")}) {
    expect_equal(*ns, dev);
  }

  // What the sender's protocols put onto the wire, in segments; everything else is ARP, which asks once or more.
  model::QueueCount sent;
  std::uint64_t segments = 0;
  EXPECT_TRUE(test::eventually([&] {
    sent = sum(device(net.sender, net.sender.links().at("s0").ifindex).tx);
    segments = net.sender.snmp("Tcp", "OutSegs") + net.sender.snmp("Tcp", "RetransSegs") +
               net.sender.snmp("Udp", "OutDatagrams") + kCut * 9U + net.sender.snmp6("Udp6OutDatagrams") +
               net.sender.snmp6("Icmp6OutMsgs") + net.sender.snmp("Icmp", "OutMsgs");
    return sent.wire_packets >= segments;
  }));
  const LinkCounters s0 = net.sender.links().at("s0");
  EXPECT_GE(sent.wire_packets, segments);
  EXPECT_LE(sent.wire_packets, segments + 8) << "more than ARP explains";
  EXPECT_GT(sent.wire_packets, s0.tx_packets) << "no packet was kept whole: the test shows nothing";
  EXPECT_GT(segments, 2 * kTcpBytes / 1448);

  // A segment stays one through the router; nothing here cuts or merges.
  const std::uint32_t r0 = net.router.links().at("r0").ifindex;
  EXPECT_TRUE(net.sender.links().at("s0").tx_dropped > 0 || test::eventually([&] {
                const QueueTotals now = totals();
                return sum(now.devices.at({net.sender.id(), s0.ifindex}).tx).wire_packets ==
                       sum(now.devices.at({net.router.id(), r0}).rx).wire_packets;
              }));
  EXPECT_EQ(device(net.router, net.router.links().at("r1").ifindex).tx.size(), 4U) << "not every queue was used";
  EXPECT_EQ(totals().accounting.packets_lost, 0U);
}

TEST_F(DataPlaneTest, SameIndexAndAddressesInTwoNamespacesStayApart) {
  struct Tenant {
    Namespace inside;
    Namespace outside;
  };
  const std::array<Tenant, 2> tenants;
  const std::array<int, 2> datagrams{100, 250};
  for (std::size_t i = 0; i < tenants.size(); ++i) {
    pair(tenants[i].inside, "eth0", tenants[i].outside, "eth0", 2, "index 77", "index 78");
    tenants[i].inside.ip("addr add 10.9.1.2/24 dev eth0\n");
    tenants[i].outside.ip("addr add 10.9.1.1/24 dev eth0\n");
    udp_send(tenants[i].inside, address("10.9.1.1", kPort), datagrams[i], 100);
  }
  for (std::size_t i = 0; i < tenants.size(); ++i) {
    EXPECT_EQ(tenants[i].inside.links().at("eth0").ifindex, 77U);
    expect_equal(tenants[i].inside, "eth0");
    expect_equal(tenants[i].outside, "eth0");
    const model::QueueCount sent = sum(device(tenants[i].inside, 77).tx);
    EXPECT_GE(sent.packets, static_cast<std::uint64_t>(datagrams[i]));
    EXPECT_LT(sent.packets, static_cast<std::uint64_t>(datagrams[i]) + 30) << "packets of the other namespace";
  }
}

TEST_F(DataPlaneTest, ABridgeAndTaggedFramesAreCounted) {
  const Namespace left;
  const Namespace middle;
  const Namespace right;
  pair(middle, "p0", left, "eth0", 1);
  pair(middle, "p1", right, "eth0", 1);
  middle.ip(
      "link add br0 type bridge\nlink set p0 master br0\nlink set p1 master br0\n"
      "link set br0 up\naddr add 10.9.1.3/24 dev br0\n");
  left.ip("addr add 10.9.1.1/24 dev eth0\n");
  right.ip("addr add 10.9.1.2/24 dev eth0\n");
  tcp_transfer(left, right, address("10.9.1.2", kPort), 1'000'000);
  tcp_transfer(left, middle, address("10.9.1.3", kPort), 1'000'000);

  const sys::Fd packet = socket_in(left, AF_PACKET, SOCK_RAW);
  std::array<unsigned char, 64> frame{};
  std::memset(frame.data(), 0xFF, 6);
  frame[6] = 2;  // a locally administered source
  frame[12] = 0x81;
  frame[15] = 42;  // 802.1Q, VLAN 42
  frame[16] = 0x88;
  frame[17] = 0xB5;  // local experimental
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(left.links().at("eth0").ifindex);
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(::sendto(packet.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to),
              std::ssize(frame));
  }
  for (const auto& [ns, dev] :
       {std::pair(&left, "eth0"), std::pair(&middle, "p0"), std::pair(&middle, "p1"), std::pair(&right, "eth0")}) {
    expect_equal(*ns, dev);
  }
  expect_equal(middle, "br0", Sides::tx);
}

TEST_F(DataPlaneTest, AVlanDeviceOnTopIsCountedBesideItsLowerDevice) {
  const Namespace left;
  const Namespace right;
  pair(left, "eth0", right, "eth0", 2);
  for (const Namespace* ns : {&left, &right}) {
    const std::string said = ns->try_ip("link add link eth0 name eth0.42 type vlan id 42\n");
    if (!said.empty()) GTEST_SKIP() << "this kernel has no VLAN devices: " << said;
    ns->ip(fmt::format("link set eth0.42 up\naddr add 10.9.1.{}/24 dev eth0.42\n", ns == &left ? 1 : 2));
  }
  tcp_transfer(left, right, address("10.9.1.2", kPort), 1'000'000);
  for (const Namespace* ns : {&left, &right}) {
    expect_equal(*ns, "eth0");
    expect_equal(*ns, "eth0.42", Sides::tx);
  }
}

TEST_F(DataPlaneTest, MoreQueuesThanATableHoldsAreCountedAsExactly) {
  constexpr int kDevices = 32;
  constexpr int kQueues = 64;
  const Namespace left;
  const Namespace right;
  const OnOneCpu here;  // every CPU has a table of its own: fill one
  for (int i = 0; i < kDevices; ++i) {
    pair(left, fmt::format("a{}", i), right, fmt::format("b{}", i), kQueues);
    left.ip(
        fmt::format("addr add 10.{0}.0.1/24 dev a{1}\n"
                    "neigh add 10.{0}.0.2 lladdr 02:00:00:00:00:99 dev a{1} nud permanent\n",
                    i + 1, i));
    udp_send(left, address(fmt::format("10.{}.0.2", i + 1), kPort), 600, 18);
  }
  std::size_t rows = 0;
  const auto links = left.links();
  const auto peers = right.links();
  for (int i = 0; i < kDevices; ++i) {
    expect_equal(left, fmt::format("a{}", i));
    expect_equal(right, fmt::format("b{}", i));
    const DeviceTotals sent = device(left, links.at(fmt::format("a{}", i)).ifindex);
    const DeviceTotals received = device(right, peers.at(fmt::format("b{}", i)).ifindex);
    rows += sent.tx.size() + received.rx.size();
  }
  EXPECT_GT(rows, 3500U) << "not enough to crowd a CPU's table";
  std::size_t beside = 0;
  ASSERT_TRUE(plane_->queue_counts().for_each([&](const weir_queue_key&, auto) { ++beside; }));
  EXPECT_GT(beside, 0U) << "the table never overflowed: the test shows nothing";
  EXPECT_EQ(totals().accounting.packets_lost, 0U);
}

}  // namespace
}  // namespace weir::observe
