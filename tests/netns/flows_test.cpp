// What flows account is what interfaces count, byte for byte: over protocols, address families, segmentation, VLANs,
// tenants with the same addresses, and more flows than there is room for; and who is an elephant.
#include <gtest/gtest.h>
#include <linux/if_packet.h>

#include <cstring>
#include <map>
#include <set>

#include "observe/flows/flow_watch.h"
#include "reason/doctor/accounting.h"
#include "support/flow_host.h"
#include "support/traffic.h"
#include "sys/clock.h"

namespace weir::observe {
namespace {

using model::Flow;
using model::FlowDirection;
using model::FlowWindow;
using test::Address;
using test::address;
using test::kPort;
using test::Namespace;
using test::socket_in;

class FlowsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }

  FlowWatch start(const std::vector<const Namespace*>& namespaces, FlowRequest request = {}) {
    auto watch = FlowWatch::start(test::FlowHost(namespaces).watched_by(std::move(request)), clock_);
    if (!watch) throw std::runtime_error(watch.error().message);
    return *std::move(watch);
  }
  static FlowWindow window(FlowWatch& watch) {
    auto seen = watch.window();
    if (!seen) throw std::runtime_error(seen.error().message);
    return *std::move(seen);
  }

  /// Every device of the ledger explains its interface to the byte.
  static void expect_closed(const FlowWindow& window) {
    EXPECT_FALSE(window.ledger.lines.empty());
    for (const model::LedgerLine& line : window.ledger.lines) {
      EXPECT_EQ(line.unattributed_bytes(), 0)
          << to_string(line.direction) << ' ' << to_string(line.device) << ": accounted " << line.accounted_bytes
          << " overflow " << line.overflow_bytes << " interface " << line.interface_bytes << " segment headers "
          << line.segment_header_bytes << " link headers " << line.link_header_bytes;
    }
  }

  static const Flow* find(const FlowWindow& window, const Namespace& ns, FlowDirection direction,
                          const std::string& tuple) {
    for (const Flow& flow : window.flows) {
      if (flow.key.netns == ns.id() && flow.key.direction == direction && to_string(flow.key.tuple) == tuple)
        return &flow;
    }
    return nullptr;
  }

  sys::SystemClock clock_;
};

std::uint64_t bytes_to_port(const FlowWindow& window, const Namespace& ns, FlowDirection direction,
                            std::uint8_t protocol, int family) {
  std::uint64_t bytes = 0;
  for (const Flow& flow : window.flows) {
    if (flow.key.netns == ns.id() && flow.key.direction == direction && flow.key.tuple.protocol == protocol &&
        flow.key.tuple.family() == family && flow.key.tuple.destination_port >= kPort)
      bytes += flow.window.bytes;
  }
  return bytes;
}

TEST_F(FlowsTest, BytesAreTheInterfacesOverBothFamiliesAndLargePackets) {
  const test::Routed net;
  test::pair(net.router, "r0", net.sender, "s0", 1);
  test::pair(net.router, "r1", net.receiver, "k0", 4);
  test::connect(net);
  FlowWatch watch = start({&net.sender, &net.router, &net.receiver});
  constexpr std::size_t kTcpBytes = 4'000'000;
  const Address server4 = address("10.9.2.2", kPort);
  const Address server6 = address("fd09:2::2", kPort);
  test::tcp_transfer(net.sender, net.receiver, server4, kTcpBytes);
  test::tcp_transfer(net.sender, net.receiver, server6, kTcpBytes);
  test::udp_send(net.sender, server4, 200, 18);
  test::udp_send(net.sender, server6, 200, 900);
  test::udp_send(net.sender, server4, 20, 10'000, 1'000);
  const FlowWindow seen = window(watch);
  expect_closed(seen);
  EXPECT_TRUE(reason::find_accounting_gaps(seen).empty());
  for (const int family : {4, 6}) {
    EXPECT_GT(bytes_to_port(seen, net.sender, FlowDirection::tx, IPPROTO_TCP, family), kTcpBytes);
    EXPECT_EQ(bytes_to_port(seen, net.sender, FlowDirection::tx, IPPROTO_TCP, family),
              bytes_to_port(seen, net.receiver, FlowDirection::rx, IPPROTO_TCP, family));
  }
  EXPECT_EQ(bytes_to_port(seen, net.sender, FlowDirection::tx, IPPROTO_UDP, 6), 200U * (14 + 40 + 8 + 900));
  EXPECT_EQ(bytes_to_port(seen, net.sender, FlowDirection::tx, IPPROTO_UDP, 4) - 200U * (14 + 20 + 8 + 18) -
                20U * (14 + 20 + 8 + 10'000),
            0U);
  const auto heavy = std::ranges::find_if(seen.flows, [&](const Flow& flow) {
    return flow.key.netns == net.sender.id() && flow.key.direction == FlowDirection::tx &&
           flow.key.tuple.protocol == IPPROTO_TCP && flow.window.bytes > kTcpBytes;
  });
  ASSERT_NE(heavy, seen.flows.end());
  EXPECT_GT(heavy->window.wire_packets, heavy->window.packets) << "no packet was kept whole: the test shows nothing";
  EXPECT_EQ(heavy->tcp_flags & 3, 3) << "SYN and FIN were seen";
  ASSERT_TRUE(heavy->tcp);
  EXPECT_GT(heavy->tcp->srtt_us, 0U);
}

TEST_F(FlowsTest, TenantsWithTheSameTupleStayApart) {
  struct Tenant {
    Namespace inside;
    Namespace outside;
  };
  const std::array<Tenant, 2> tenants;
  const std::array<int, 2> datagrams{100, 250};
  for (const Tenant& tenant : tenants) {
    test::pair(tenant.inside, "eth0", tenant.outside, "eth0", 1, "index 77", "index 78");
    tenant.inside.ip("addr add 10.9.1.2/24 dev eth0\n");
    tenant.outside.ip("addr add 10.9.1.1/24 dev eth0\n");
  }
  FlowWatch watch = start({&tenants[0].inside, &tenants[0].outside, &tenants[1].inside, &tenants[1].outside});
  const Address to = address("10.9.1.1", kPort);
  const Address from = address("10.9.1.2", 5353);
  for (std::size_t i = 0; i < tenants.size(); ++i) {
    const sys::Fd socket = test::bound(tenants[i].inside, from, SOCK_DGRAM);
    const std::array<char, 100> data{};
    for (int sent = 0; sent < datagrams[i]; ++sent)
      ASSERT_EQ(::sendto(socket.get(), data.data(), data.size(), 0, test::raw(to), to.size), std::ssize(data));
  }
  const FlowWindow seen = window(watch);
  expect_closed(seen);
  for (std::size_t i = 0; i < tenants.size(); ++i) {
    for (const auto& [ns, direction] :
         {std::pair(&tenants[i].inside, FlowDirection::tx), std::pair(&tenants[i].outside, FlowDirection::rx)}) {
      const Flow* flow = find(seen, *ns, direction, "10.9.1.2:5353 > 10.9.1.1:7000");
      ASSERT_NE(flow, nullptr);
      EXPECT_EQ(flow->window.packets, static_cast<std::uint64_t>(datagrams[i]));
      EXPECT_EQ(flow->window.bytes, static_cast<std::uint64_t>(datagrams[i]) * (14 + 20 + 8 + 100));
    }
  }
}

TEST_F(FlowsTest, TagsFragmentsAndOptionsBelongToTheirFlows) {
  const Namespace left;
  const Namespace right;
  test::pair(left, "eth0", right, "eth0", 1);
  left.ip("addr add 10.9.1.1/24 dev eth0\n");
  right.ip("addr add 10.9.1.2/24 dev eth0\n");
  FlowWatch watch = start({&left, &right});
  // A datagram of 4000 bytes goes in fragments, all in the flow of its addresses, without ports.
  test::udp_send(left, address("10.9.1.2", kPort), 3, 4000);
  // 802.1Q, VLAN 42, IPv4 with options (header of 24 bytes), UDP 1000 > 2000.
  std::array<unsigned char, 64> frame{};
  std::memset(frame.data(), 0xFF, 6);
  const std::array<unsigned char, 36> tagged{0x81, 0x00, 0,  42, 0x08, 0x00, 0x46, 0,    0,    46,   0,  1,
                                             0,    0,    64, 17, 0,    0,    10,   9,    9,    1,    10, 9,
                                             9,    2,    1,  1,  1,    0,    0x03, 0xE8, 0x07, 0xD0, 0,  22};
  frame[6] = 2;
  std::ranges::copy(tagged, frame.begin() + 12);
  const sys::Fd packet = socket_in(left, AF_PACKET, SOCK_RAW);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(left.links().at("eth0").ifindex);
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(::sendto(packet.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to),
              std::ssize(frame));
  }
  const FlowWindow seen = window(watch);
  expect_closed(seen);
  const Flow* fragments = find(seen, left, FlowDirection::tx, "10.9.1.1 > 10.9.1.2");
  ASSERT_NE(fragments, nullptr);
  EXPECT_EQ(fragments->window.packets, 9U);
  EXPECT_EQ(fragments->key.tuple.protocol, IPPROTO_UDP);
  for (const auto& [ns, direction] : {std::pair(&left, FlowDirection::tx), std::pair(&right, FlowDirection::rx)}) {
    const Flow* flow = find(seen, *ns, direction, "10.9.9.1:1000 > 10.9.9.2:2000");
    ASSERT_NE(flow, nullptr) << to_string(direction);
    EXPECT_EQ(flow->key.vlan, 42);
    EXPECT_EQ(flow->window.packets, 10U);
  }
}

/// Sends so many datagrams of `bytes` in each of `flows` flows (destination ports), one flow after the other in turn.
void send_flows(const Namespace& from, const std::string& to, int flows, int rounds, std::size_t bytes) {
  for (int round = 0; round < rounds; ++round) test::udp_send(from, address(to, kPort), flows, bytes);
}

TEST_F(FlowsTest, TheLedgerClosesWithTenTimesMoreFlowsThanRoom) {
  const Namespace left;
  const Namespace right;
  test::pair(left, "eth0", right, "eth0", 1);
  left.ip("addr add 10.9.1.1/24 dev eth0\n");
  right.ip("addr add 10.9.1.2/24 dev eth0\n");
  FlowRequest request;
  request.flows = 256;
  request.elephants = {.bytes = 100'000, .rate_bps = 1e5};
  FlowWatch watch = start({&left, &right}, request);
  constexpr int kMice = 2560;
  constexpr int kElephants = 40;
  // Mice first, so that the heavy ones find the table full.
  send_flows(left, "10.9.1.2", kMice, 2, 100);
  const sys::Fd heavy = socket_in(left, AF_INET, SOCK_DGRAM);
  const std::vector<char> data(1000);
  for (int round = 0; round < 200; ++round) {
    for (int flow = 0; flow < kElephants; ++flow) {
      const Address to = address("10.9.1.2", static_cast<std::uint16_t>(40000 + flow));
      ASSERT_EQ(::sendto(heavy.get(), data.data(), data.size(), 0, test::raw(to), to.size), std::ssize(data));
    }
    if (round % 10 == 0) send_flows(left, "10.9.1.2", 500, 1, 50);
  }
  const FlowWindow seen = window(watch);
  expect_closed(seen);
  EXPECT_GT(seen.ledger.total().overflow_bytes, 0U) << "everything found room: the test shows nothing";
  const auto gaps = reason::find_accounting_gaps(seen);
  ASSERT_EQ(gaps.size(), 1U);
  EXPECT_EQ(gaps[0].cause, "table-full");
  std::set<std::uint16_t> found;
  int wrong = 0;
  for (const Flow& flow : seen.flows) {
    if (flow.key.netns != left.id() || flow.key.direction != FlowDirection::tx) continue;
    if (flow.flow_class != model::FlowClass::elephant) continue;
    const std::uint16_t port = flow.key.tuple.destination_port;
    if (port >= 40000 && port < 40000 + kElephants)
      found.insert(port);
    else
      ++wrong;
  }
  const double f1 = 2.0 * static_cast<double>(found.size()) /
                    static_cast<double>(found.size() + static_cast<std::size_t>(wrong) + kElephants);
  EXPECT_GE(f1, 0.95) << found.size() << " of " << kElephants << " found, " << wrong << " wrong";
}

TEST_F(FlowsTest, AnElephantIsToldWhenItBecomesOneAndWhenItStops) {
  const Namespace left;
  const Namespace right;
  test::pair(left, "eth0", right, "eth0", 1);
  left.ip("addr add 10.9.1.1/24 dev eth0\n");
  right.ip("addr add 10.9.1.2/24 dev eth0\n");
  FlowRequest request;
  request.elephants = {.bytes = 200'000,
                       .rate_bps = 4e6,
                       .sustained = std::chrono::milliseconds(100),
                       .demote_after = std::chrono::seconds(1)};
  FlowWatch watch = start({&left, &right}, request);
  const sys::Fd socket = socket_in(left, AF_INET, SOCK_DGRAM);
  const Address heavy = address("10.9.1.2", 40000);
  const Address light = address("10.9.1.2", 40001);
  const std::vector<char> data(1000);
  std::vector<model::FlowEvent> events;
  const auto take = [&](const model::FlowEvent& event, const model::DeviceRef&) {
    if (event.key.netns == left.id() && event.key.direction == FlowDirection::tx) events.push_back(event);
  };
  // 1000 packets a second and 20 a second, until the first is told of.
  const auto begin = clock_.monotonic();
  const auto limit = begin + std::chrono::seconds(20);
  int sent = 0;
  while (events.empty() && clock_.monotonic() < limit) {
    ASSERT_EQ(::sendto(socket.get(), data.data(), data.size(), 0, test::raw(heavy), heavy.size), std::ssize(data));
    if (++sent % 50 == 0) {
      ASSERT_GT(::sendto(socket.get(), data.data(), 100, 0, test::raw(light), light.size), 0);
    }
    ASSERT_TRUE(watch.poll(std::chrono::milliseconds(1), take));
  }
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].kind, model::FlowEvent::Kind::promoted);
  EXPECT_EQ(events[0].key.tuple.destination_port, 40000);
  EXPECT_GE(events[0].bytes, 200'000U);
  EXPECT_GE(events[0].time - begin, std::chrono::milliseconds(90));
  while (events.size() < 2 && clock_.monotonic() < limit) {
    ASSERT_TRUE(watch.poll(std::chrono::milliseconds(50), take));
  }
  ASSERT_EQ(events.size(), 2U) << "its silence was not told";
  EXPECT_EQ(events[1].kind, model::FlowEvent::Kind::demoted);
  EXPECT_EQ(events[1].key.tuple.destination_port, 40000);
}

TEST_F(FlowsTest, FlowsThatEndMakeRoomAndAreNotForgotten) {
  const Namespace left;
  const Namespace right;
  test::pair(left, "eth0", right, "eth0", 1);
  left.ip("addr add 10.9.1.1/24 dev eth0\n");
  right.ip("addr add 10.9.1.2/24 dev eth0\n");
  FlowRequest request;
  request.flows = 2048;
  request.retirement = {.idle = std::chrono::milliseconds(1),
                        .closed = std::chrono::milliseconds(1),
                        .crowded = std::chrono::milliseconds(1),
                        .remembered = 1000};
  FlowWatch watch = start({&left, &right}, request);
  constexpr int kRounds = 4;
  for (int round = 0; round < kRounds; ++round) {
    test::udp_send(left, address("10.9.1.2", static_cast<std::uint16_t>(kPort + round * 700)), 700, 100);
    const auto before = clock_.monotonic();
    while (clock_.monotonic() - before < std::chrono::milliseconds(1100)) {
      ASSERT_TRUE(watch.poll(std::chrono::milliseconds(100), {}));
    }
  }
  // The last flow of the first round once more: its bytes of before are still known.
  test::udp_send(left, address("10.9.1.2", kPort), 1, 100);
  const FlowWindow seen = window(watch);
  expect_closed(seen);
  EXPECT_LT(seen.flows.size(), 2000U) << "more were remembered than should be";
  EXPECT_EQ(seen.ledger.total().overflow_bytes, 0U) << "5600 flows in a table of 2048";
}

}  // namespace
}  // namespace weir::observe
