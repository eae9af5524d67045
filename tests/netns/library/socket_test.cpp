// Sockets, settings and netlink of namespaces in which the thread is not.
#include <gmock/gmock.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "support/netns_fixture.h"

namespace weir::netns {
namespace {

using test::cookie_of;
using ::testing::HasSubstr;

class NetnsSocket : public test::NetnsFixture {};

TEST_F(NetnsSocket, EveryKindOfSocketComesFromThere) {
  const Netns ns = make();
  for (const auto& [domain, type] : {std::pair{AF_INET, SOCK_STREAM},
                                     {AF_INET6, SOCK_DGRAM},
                                     {AF_UNIX, SOCK_STREAM},
                                     {AF_NETLINK, SOCK_RAW},
                                     {AF_PACKET, SOCK_RAW}}) {
    for (const Mode mode : {Mode::strict, Mode::by_thread}) {
      const auto socket = open_socket(ns, domain, type, 0, mode);
      ASSERT_TRUE(socket) << socket.error().message;
      EXPECT_EQ(cookie_of(socket->get()), ns.id());
      EXPECT_EQ(::fcntl(socket->get(), F_GETFD), FD_CLOEXEC);
    }
  }
}

TEST_F(NetnsSocket, OneAddressAndPortInManyNamespaces) {
  for (const char* address : {"127.0.0.1", "::1", "0.0.0.0", "::"}) {
    std::vector<Fd> listeners;
    for (int i = 0; i < 3; ++i) {
      const Netns ns = make();
      auto listener = listen(ns, {address, 18081});
      ASSERT_TRUE(listener) << listener.error().message;
      EXPECT_EQ(cookie_of(listener->get()), ns.id());
      const Endpoint bound = value(local_endpoint(listener->get()));
      EXPECT_EQ(bound.address, address);
      EXPECT_EQ(bound.port, 18081);
      listeners.push_back(std::move(*listener));
    }
  }
}

TEST_F(NetnsSocket, ListeningFailsClearly) {
  const Netns ns = make();
  const auto first = listen(ns, {"127.0.0.1", 18082});
  ASSERT_TRUE(first);
  const auto second = listen(ns, {"127.0.0.1", 18082});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("127.0.0.1:18082"));
  EXPECT_EQ(second.error().sys_errno, EADDRINUSE);
  EXPECT_EQ(listen(ns, {"not an address", 1}).error().code, Errc::usage);
  EXPECT_EQ(listen(ns, {"127.0.0.1%lo", 1}).error().code, Errc::usage);
  EXPECT_EQ(listen(ns, {"fe80::1%nosuch0", 1}).error().code, Errc::not_found);
  EXPECT_EQ(listen(ns, {"127.0.0.1", 0}, {.device = "nosuch0"}).error().code, Errc::not_found);
  EXPECT_EQ(listen(ns, {"192.0.2.1", 0}).error().sys_errno, EADDRNOTAVAIL);
  EXPECT_TRUE(listen(ns, {"192.0.2.1", 0}, {.freebind = true}));
}

TEST_F(NetnsSocket, SettingsAreOfTheirNamespace) {
  const Netns a = make();
  const Netns b = make();
  ASSERT_TRUE(write_sysctl(a, "net/ipv4/ip_default_ttl", "77"));
  EXPECT_EQ(value(read_sysctl(a, "net.ipv4.ip_default_ttl")), "77");
  EXPECT_EQ(value(read_sysctl(b, "net/ipv4/ip_default_ttl")), "64");
  EXPECT_EQ(read_sysctl(a, "net/ipv4/nosuch").error().code, Errc::not_found);
  EXPECT_FALSE(write_sysctl(a, "net/ipv4/ip_default_ttl", "not a number"));
  for (const char* wrong : {"", "kernel/hostname", "net/../kernel/hostname", "/etc/passwd", "net//ipv4", "net"}) {
    EXPECT_EQ(read_sysctl(a, wrong).error().code, Errc::usage) << wrong;
  }
}

TEST_F(NetnsSocket, NetlinkSpeaksWithItsNamespace) {
  const Netns ns = make();
  auto netlink = open_netlink(ns, NETLINK_ROUTE);
  ASSERT_TRUE(netlink) << netlink.error().message;
  ifinfomsg any{};
  auto links = netlink->dump(sys::NetlinkRequest(RTM_GETLINK, 0, any), "links");
  ASSERT_TRUE(links);
  std::vector<unsigned> loopbacks;
  for (const auto& link : links->messages) {
    const auto info = link.fixed<ifinfomsg>();
    if (info && (info->ifi_flags & IFF_LOOPBACK) != 0) loopbacks.push_back(info->ifi_flags & IFF_UP);
  }
  EXPECT_EQ(loopbacks, std::vector<unsigned>{IFF_UP});
}

TEST_F(NetnsSocket, AVrfIsATenantToo) {
  const std::string a = name("vrf");
  const Netns ns = value(Netns::create_named(a));
  const auto ip = [&](const std::string& words) { return ::system(("ip -n " + a + " " + words).c_str()); };
  if (ip("link add red type vrf table 10 2>/dev/null") != 0) GTEST_SKIP() << "this kernel has no VRF (CONFIG_NET_VRF)";
  ASSERT_EQ(ip("link add blue type vrf table 11"), 0);
  const auto red = listen(ns, {"0.0.0.0", 18083}, {.device = "red"});
  const auto blue = listen(ns, {"0.0.0.0", 18083}, {.device = "blue"});
  EXPECT_TRUE(red) << red.error().message;
  EXPECT_TRUE(blue) << blue.error().message;
}

}  // namespace
}  // namespace weir::netns
