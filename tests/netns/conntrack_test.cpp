// The conntrack plane beside conntrack(8): what is in a table, what is lost and found again, and namespaces that go.
#include <gtest/gtest.h>

#include <set>

#include "observe/flows/conntrack/plane.h"
#include "support/named_namespaces.h"
#include "support/traffic.h"
#include "sys/clock.h"

namespace weir::observe {
namespace {

using test::Translated;

/// Time that a test moves on.
class MovedClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::nanoseconds monotonic() const override { return real_.monotonic() + ahead; }
  [[nodiscard]] std::chrono::sys_time<std::chrono::nanoseconds> realtime() const override { return real_.realtime(); }
  std::chrono::nanoseconds ahead{};

 private:
  sys::SystemClock real_;
};

class ConntrackTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  static std::size_t count(const ConntrackPlane& plane, const test::Named& ns, bool ended) {
    return plane
        .entries(
            [&](const model::ConntrackEntry& entry) { return entry.netns == ns.netns().id() && entry.ended == ended; })
        .size();
  }
  static std::size_t kernel_count(const test::Named& ns) { return std::stoul(ns.run({"conntrack", "-C"}).out); }
  /// So many connections of one datagram each.
  static void datagrams(const Translated& net, int from, int connections) {
    const test::Address to = test::address("10.99.0.1", 80);
    for (int i = 0; i < connections; ++i) {
      const test::Address own = test::address("10.9.1.2", static_cast<std::uint16_t>(from + i));
      auto socket = netns::open_socket(net.client.netns(), AF_INET, SOCK_DGRAM, 0);
      ASSERT_TRUE(socket);
      ASSERT_EQ(::bind(socket->get(), test::raw(own), own.size), 0);
      ASSERT_EQ(::sendto(socket->get(), "x", 1, 0, test::raw(to), to.size), 1);
    }
  }
  MovedClock clock_;
};

TEST_F(ConntrackTest, FollowsATableFromItsDumpOn) {
  const Translated net;
  datagrams(net, 1000, 50);
  ConntrackPlane plane({}, clock_);
  EXPECT_EQ(count(plane, net.router, false), kernel_count(net.router));
  const std::uint64_t dumps = plane.account().dumps;
  net.router.sh("nft insert rule inet t pre udp sport 2003 ct mark set 77");
  datagrams(net, 2000, 50);
  plane.poll();
  EXPECT_EQ(count(plane, net.router, false), kernel_count(net.router));
  EXPECT_GE(count(plane, net.router, false), 100U);
  EXPECT_EQ(plane.account().dumps, dumps) << "events were enough";
  net.router.sh("conntrack -D -p udp --orig-port-src 2004 2>/dev/null");
  plane.poll();
  const auto entry_of = [&](std::uint16_t port) {
    return plane.entries([&](const model::ConntrackEntry& entry) { return entry.original.source_port == port; });
  };
  ASSERT_EQ(entry_of(2003).size(), 1U);
  EXPECT_EQ(entry_of(2003)[0]->mark, 77U);
  ASSERT_EQ(entry_of(2004).size(), 1U);
  EXPECT_TRUE(entry_of(2004)[0]->ended);
  // What began before the plane has no events: it takes a dump.
  net.router.sh("conntrack -D -p udp --orig-port-src 1004 2>/dev/null");
  clock_.ahead += std::chrono::seconds(10);
  plane.refresh();
  ASSERT_EQ(entry_of(1004).size(), 1U);
  EXPECT_TRUE(entry_of(1004)[0]->ended);
  plane.begin_window();
  EXPECT_TRUE(entry_of(1004).empty());
  EXPECT_EQ(count(plane, net.router, false), kernel_count(net.router));
}

TEST_F(ConntrackTest, LostEventsAreMadeUpForByADump) {
  const Translated net;
  datagrams(net, 1000, 1);
  ConntrackPlane plane({}, clock_);
  datagrams(net, 2000, 40'000);
  plane.poll();
  const model::ConntrackAccount account = plane.account();
  EXPECT_GT(account.resyncs, 0U) << "all events found room: the test shows nothing";
  clock_.ahead += std::chrono::seconds(10);
  plane.poll();
  EXPECT_EQ(count(plane, net.router, false), kernel_count(net.router));
  EXPECT_GE(kernel_count(net.router), 40'000U);
  EXPECT_EQ(plane.account().malformed, 0U);
}

TEST_F(ConntrackTest, ANamespaceThatGoesEndsWithAllItHad) {
  auto net = std::make_unique<Translated>();
  datagrams(*net, 1000, 20);
  ConntrackPlane plane({}, clock_);
  const std::uint64_t router = net->router.netns().id();
  const std::uint64_t before = plane.account().namespaces;
  net.reset();
  clock_.ahead += std::chrono::seconds(10);
  plane.poll();
  const auto entries = plane.entries([&](const model::ConntrackEntry& entry) { return entry.netns == router; });
  EXPECT_GE(entries.size(), 20U);
  for (const auto& entry : entries) EXPECT_TRUE(entry->ended);
  plane.begin_window();
  EXPECT_EQ(plane.account().namespaces, before - 1) << "nothing of it is held";
  EXPECT_TRUE(plane.account().unread.empty());
}

TEST_F(ConntrackTest, NamespacesAreNotMadeToTrackConnections) {
  const test::Named a("-a");
  const test::Named b("-b");
  test::pair(a, "eth0", b, "eth0");
  a.sh("ip addr add 10.9.7.1/24 dev eth0");
  b.sh("ip addr add 10.9.7.2/24 dev eth0");
  ConntrackPlane plane({}, clock_);
  a.sh("ping -c 1 -W 2 10.9.7.2 >/dev/null");
  clock_.ahead += std::chrono::seconds(10);
  plane.poll();
  EXPECT_EQ(kernel_count(a), 0U);
  EXPECT_EQ(count(plane, a, false), 0U);
}

}  // namespace
}  // namespace weir::observe
