// Namespaces of this kernel: identity, names, switching, and what errors leave behind.
#include "netns/netns.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <stdexcept>

#include "netns/ns_file.h"
#include "support/netns_fixture.h"

namespace weir::netns {
namespace {

using test::cookie_of;
using test::kernel_here;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

int run(const std::string& command) {
  return ::system(command.c_str());  // NOLINT: fixed words only
}

class NetnsTest : public test::NetnsFixture {
 protected:
  static Netns make(const std::string& full) { return value(Netns::create_named(full)); }
};

TEST_F(NetnsTest, CurrentIsWhatTheKernelSaysOfASocket) {
  const auto current = Netns::current();
  ASSERT_TRUE(current);
  EXPECT_EQ(current->id(), kernel_here());
}

TEST_F(NetnsTest, CreatedNamespaceIsAnotherOneAndIsKnownToIp) {
  const std::string a = name("a");
  const Netns ns = make(a);
  EXPECT_NE(ns.id(), home_);
  EXPECT_EQ(kernel_here(), home_);
  const auto opened = Netns::open(a);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->id(), ns.id());
  EXPECT_EQ(run("ip netns list | grep -qw " + a), 0);
  EXPECT_EQ(run("ip netns exec " + a + " ping -c1 -W1 127.0.0.1 >/dev/null 2>&1 || ip -n " + a +
                " link show lo | grep -q LOWER_UP"),
            0);
  ASSERT_TRUE(Netns::remove_named(a));
  EXPECT_NE(run("ip netns list | grep -qw " + a), 0);
}

TEST_F(NetnsTest, KernelsWithoutIdsHaveTheCookieOfASocket) {
  const Netns ns = make(name("cookie"));
  const auto cookie = detail::ns_cookie(ns.fd());
  ASSERT_TRUE(cookie) << cookie.error().message;
  EXPECT_EQ(*cookie, ns.id());
}

TEST_F(NetnsTest, MoreNamespacesThanDescriptors) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  std::vector<std::string> made;
  for (int i = 0; i < 200; ++i) {
    made.push_back(name("many" + std::to_string(i)));
    make(made.back());
  }
  const rlimit few{64, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<std::string> unreadable;
  const auto entries = list(&unreadable);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(entries) << entries.error().message;
  std::set<std::string> seen;
  for (const Entry& entry : *entries) seen.insert(entry.names.begin(), entry.names.end());
  for (const std::string& one : made) EXPECT_TRUE(seen.contains(one)) << one;
}

TEST_F(NetnsTest, LoopbackIsUp) {
  const Netns ns = make(name("lo"));
  const auto socket = open_socket(ns, AF_INET, SOCK_DGRAM, 0);
  ASSERT_TRUE(socket);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  ASSERT_EQ(::ioctl(socket->get(), SIOCGIFFLAGS, &request), 0);
  EXPECT_NE(request.ifr_flags & IFF_UP, 0);
}

TEST_F(NetnsTest, NamesMadeByIpAreRead) {
  const std::string a = name("ip");
  ASSERT_EQ(run("ip netns add " + a), 0);
  const auto ns = Netns::open(a);
  ASSERT_TRUE(ns) << ns.error().message;
  std::uint64_t inside = 0;
  ASSERT_TRUE(run_in(*ns, [&]() -> Result<void> {
    inside = kernel_here();
    return {};
  }));
  EXPECT_EQ(inside, ns->id());
  EXPECT_EQ(run("ip netns del " + a), 0);
}

TEST_F(NetnsTest, AReusedNameIsAnotherNamespace) {
  const std::string a = name("again");
  std::set<std::uint64_t> ids;
  for (int i = 0; i < 50; ++i) {
    ids.insert(make(a).id());
    ASSERT_TRUE(Netns::remove_named(a));
  }
  EXPECT_EQ(ids.size(), 50U);
}

TEST_F(NetnsTest, AnEntryWhoseNameMeansAnotherNamespaceDoesNotOpen) {
  const std::string a = name("swap");
  Entry entry;
  entry.id = make(a).id();
  entry.names = {a};
  ASSERT_TRUE(Netns::remove_named(a));
  make(a);
  const auto opened = open(entry);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::not_found);
}

TEST_F(NetnsTest, TwoNamesOfOneNamespaceAreOneEntry) {
  const std::string a = name("one");
  const std::string b = name("two");
  const Netns ns = make(a);
  ::close(::open(("/run/netns/" + b).c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0));
  ASSERT_EQ(::mount(("/run/netns/" + a).c_str(), ("/run/netns/" + b).c_str(), "none", MS_BIND, nullptr), 0);
  const auto entries = list();
  ASSERT_TRUE(entries);
  const auto found = std::ranges::find(*entries, ns.id(), &Entry::id);
  ASSERT_NE(found, entries->end());
  EXPECT_THAT(found->names, ElementsAre(a, b));
  EXPECT_EQ(found->display(), a);
  EXPECT_EQ(std::ranges::count(*entries, ns.id(), &Entry::id), 1);
}

TEST_F(NetnsTest, ANamelessNamespaceIsFoundByItsProcessAndById) {
  int ready[2];
  int stop[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(stop, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(stop[1]);
    char byte = ::unshare(CLONE_NEWNET) == 0 ? 'y' : 'n';
    if (::write(ready[1], &byte, 1) != 1 || ::read(stop[0], &byte, 1) != 0) ::_exit(1);
    ::_exit(0);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  const auto ns = Netns::open("pid:" + std::to_string(child));
  ASSERT_TRUE(ns) << ns.error().message;
  EXPECT_NE(ns->id(), home_);
  const auto entries = list();
  ASSERT_TRUE(entries);
  const auto found = std::ranges::find(*entries, ns->id(), &Entry::id);
  ASSERT_NE(found, entries->end());
  EXPECT_THAT(found->pids, ElementsAre(child));
  EXPECT_EQ(found->display(), "id:" + std::to_string(ns->id()));
  const auto by_id = Netns::open(found->display());
  ASSERT_TRUE(by_id) << by_id.error().message;
  EXPECT_EQ(by_id->id(), ns->id());
  ::close(stop[0]);
  ::close(stop[1]);
  ::close(ready[0]);
  ::close(ready[1]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  const auto dead = Netns::open("pid:" + std::to_string(child));
  ASSERT_FALSE(dead);
  EXPECT_EQ(dead.error().code, Errc::not_found);
  EXPECT_THAT(dead.error().message, HasSubstr("no process"));
  const auto gone = open(*found);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Errc::not_found);
}

TEST_F(NetnsTest, AProcessOfAnIncompleteListIsOneEntry) {
  const auto entries = list(nullptr, 1);
  ASSERT_TRUE(entries);
  const auto init = std::ranges::find(*entries, true, &Entry::initial);
  ASSERT_NE(init, entries->end());
  EXPECT_EQ(init->display(), "init");
  EXPECT_EQ(init->pids.size(), 1U);
  EXPECT_TRUE(open(*init));
}

TEST_F(NetnsTest, APlainFileIsRefusedAndListedAsUnreadable) {
  const std::string a = name("plain");
  make(name("dir"));  // so that /run/netns exists
  ::close(::open(("/run/netns/" + a).c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0));
  const auto ns = Netns::open(a);
  ASSERT_FALSE(ns);
  EXPECT_EQ(ns.error().code, Errc::usage);
  EXPECT_THAT(ns.error().message, HasSubstr("is not a network namespace"));
  std::vector<std::string> unreadable;
  ASSERT_TRUE(list(&unreadable));
  EXPECT_THAT(unreadable, ::testing::Contains(HasSubstr(a)));
  EXPECT_TRUE(Netns::remove_named(a)) << "what a crash between file and mount leaves must be removable";
}

TEST_F(NetnsTest, OtherKindsOfFileAreRefused) {
  for (const char* path : {"/proc/self/ns/mnt", "/proc/self/ns/uts", "/dev/null", "/", "/etc/passwd"}) {
    const auto ns = Netns::open(path);
    ASSERT_FALSE(ns) << path;
    EXPECT_EQ(ns.error().code, Errc::usage) << path;
    EXPECT_THAT(ns.error().message, HasSubstr("not a network namespace")) << path;
  }
}

TEST_F(NetnsTest, AFifoIsRefusedAtOnce) {
  const std::string path = "/tmp/weir-nt-fifo" + std::to_string(::getpid());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_FALSE(Netns::open(path));
  ::unlink(path.c_str());
}

TEST_F(NetnsTest, AnUnknownNameSuggestsTheNearest) {
  const std::string a = name("tenant");
  make(a);
  const auto ns = Netns::open(a.substr(0, a.size() - 1));
  ASSERT_FALSE(ns);
  EXPECT_EQ(ns.error().code, Errc::not_found);
  EXPECT_THAT(ns.error().hint, HasSubstr(a));
}

TEST_F(NetnsTest, WordsThatAreNoSpecificationAreUsageErrors) {
  for (const char* spec : {"", "all", "pid:", "pid:x", "pid:0", "pid:-1", "id:", "id:12x", "a/b", "..", "."}) {
    const auto ns = Netns::open(spec);
    ASSERT_FALSE(ns) << spec;
    EXPECT_EQ(ns.error().code, Errc::usage) << spec << ": " << ns.error().message;
  }
  const auto unknown = Netns::open("id:18446744073709551615");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::not_found);
}

TEST_F(NetnsTest, NamesThatCannotStandAreRefused) {
  for (const std::string& bad : {std::string("init"), std::string("all"), std::string("id:7"), std::string("pid:7"),
                                 std::string("a/b"), std::string(".."), std::string(), std::string(300, 'x')}) {
    const auto made = Netns::create_named(bad);
    ASSERT_FALSE(made) << bad;
    EXPECT_EQ(made.error().code, Errc::usage) << bad;
  }
}

TEST_F(NetnsTest, AnExistingNameIsNotReplaced) {
  const std::string a = name("dup");
  const Netns first = make(a);
  const auto second = Netns::create_named(a);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
  EXPECT_EQ(Netns::open(a)->id(), first.id());
  const auto missing = Netns::remove_named(name("never"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::not_found);
}

TEST_F(NetnsTest, AHeldNamespaceOutlivesItsName) {
  const std::string a = name("held");
  const Netns ns = make(a);
  ASSERT_TRUE(Netns::remove_named(a));
  const auto socket = open_socket(ns, AF_INET, SOCK_STREAM, 0);
  ASSERT_TRUE(socket);
  EXPECT_EQ(cookie_of(socket->get()), ns.id());
}

TEST_F(NetnsTest, TheSameAddressInThreeNamespaces) {
  std::vector<sys::Fd> listeners;
  std::vector<std::uint64_t> ids;
  for (const char* which : {"x", "y", "z"}) {
    const Netns ns = make(name(which));
    auto socket = open_socket(ns, AF_INET, SOCK_STREAM, 0);
    ASSERT_TRUE(socket);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(18080);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::bind(socket->get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(socket->get(), 1), 0);
    EXPECT_EQ(cookie_of(socket->get()), ns.id());
    ids.push_back(ns.id());
    listeners.push_back(std::move(*socket));
  }
  EXPECT_EQ(std::set<std::uint64_t>(ids.begin(), ids.end()).size(), 3U);
}

TEST_F(NetnsTest, EveryFailureLeavesTheThreadAtHome) {
  const Netns ns = make(name("fail"));
  const auto refused = run_in(ns, []() -> Result<void> { return fail(Errc::failed, "body failed"); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "body failed");
  EXPECT_EQ(kernel_here(), home_);
  EXPECT_THROW(static_cast<void>(run_in(ns, []() -> Result<void> { throw std::runtime_error("bug"); })),
               std::runtime_error);
  EXPECT_EQ(kernel_here(), home_);
  EXPECT_FALSE(open_socket(ns, 9999, SOCK_STREAM, 0));
  EXPECT_EQ(kernel_here(), home_);
  EXPECT_FALSE(Netns::from_fd(sys::Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC))));
  EXPECT_FALSE(Netns::from_fd(sys::Fd(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC))));
  EXPECT_EQ(kernel_here(), home_);
}

TEST_F(NetnsTest, ScopesNest) {
  const Netns outer = make(name("outer"));
  const Netns inner = make(name("inner"));
  ASSERT_TRUE(run_in(outer, [&]() -> Result<void> {
    EXPECT_EQ(kernel_here(), outer.id());
    auto nested = run_in(inner, [&]() -> Result<void> {
      EXPECT_EQ(kernel_here(), inner.id());
      return {};
    });
    EXPECT_EQ(kernel_here(), outer.id());
    return nested;
  }));
}

TEST_F(NetnsTest, WithoutTheRightTheBodyDoesNotRun) {
  const Netns ns = make(name("priv"));
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(9);
    bool ran = false;
    const auto result = run_in(ns, [&]() -> Result<void> {
      ran = true;
      return {};
    });
    ::_exit(!ran && !result && result.error().code == Errc::permission ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(NetnsTest, AThreadThatCannotComeHomeDies) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto lose_the_way_home = [] {
    const auto ns = Netns::create();
    if (!ns) return;
    static_cast<void>(run_in(*ns, []() -> Result<void> {
      ::close_range(3, ~0U, 0);
      return {};
    }));
  };
  EXPECT_DEATH(lose_the_way_home(), "cannot return");
}

}  // namespace
}  // namespace weir::netns
