// Ten million sockets made in namespaces where the thread was not: none of them in a wrong one, by the kernel's word.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "support/netns_fixture.h"

namespace weir::netns {
namespace {

class ManySockets : public test::NetnsFixture {};

constexpr std::uint64_t kSockets = 10'000'000;
constexpr std::size_t kNamespaces = 256;
constexpr std::size_t kThreads = 4;

struct Found {
  std::atomic<std::uint64_t> made{0};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> failed{0};
};

/// Sockets in an order of namespaces that repeats late; one visit in 16 is a strict one on its way between sticky ones.
void make_sockets(const std::vector<Netns>& places, std::size_t thread, Found& found) {
  std::uint64_t random = 0x9e3779b97f4a7c15 * (thread + 1);
  for (std::uint64_t i = 0; i < kSockets / kThreads; ++i) {
    random = random * 6364136223846793005 + 1442695040888963407;
    const Netns& place = places[(random >> 33) % places.size()];
    const Mode mode = i % 16 == 0 ? Mode::strict : Mode::by_thread;
    const auto socket = open_socket(place, AF_UNIX, SOCK_DGRAM, 0, mode);
    std::uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    if (!socket || ::getsockopt(socket->get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
      ++found.failed;
    } else {
      found.wrong += cookie == place.id() ? 0 : 1;
    }
  }
  found.made += kSockets / kThreads;
}

TEST_F(ManySockets, AreAllWhereTheyShouldBe) {
  std::vector<Netns> places;
  for (std::size_t i = 0; i < kNamespaces; ++i) places.push_back(make());
  set_audit_interval(0);  // the library's own look at each socket would hide what is looked for here
  Found found;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.push_back(value(start_worker([&, i] { make_sockets(places, i, found); })));
  }
  for (std::thread& thread : threads) thread.join();
  set_audit_interval(1024);
  EXPECT_EQ(found.made, kSockets);
  EXPECT_EQ(found.failed, 0U);
  EXPECT_EQ(found.wrong, 0U);
}

}  // namespace
}  // namespace weir::netns
