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
#include "support/traffic.h"

namespace weir::observe {
namespace {

using test::Address;
using test::address;
using test::bound;
using test::connect;
using test::kPort;
using test::LinkCounters;
using test::Namespace;
using test::pair;
using test::raw;
using test::Routed;
using test::socket_in;
using test::tcp_transfer;
using test::udp_send;

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
