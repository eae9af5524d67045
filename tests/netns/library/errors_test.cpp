// What goes wrong: each a clear error, and the calling thread provably at home afterwards (see the fixture).
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/resource.h>

#include <fstream>

#include "support/netns_fixture.h"

namespace weir::netns {
namespace {

using test::in_child;
using test::kernel_here;
using ::testing::HasSubstr;

class NetnsErrors : public test::NetnsFixture {};

/// The exit code of a child that may not make a user namespace.
constexpr int kNoUserNamespace = 77;

/// Leaves no more descriptors to the process while it lives.
class FewDescriptors {
 public:
  FewDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const Fd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const rlimit few{static_cast<rlim_t>(next.get()), before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
};

template <class T>
void expect_too_many_files(const Result<T>& result) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().sys_errno, EMFILE) << result.error().message;
  EXPECT_THAT(result.error().message, HasSubstr("Too many open files"));
}

TEST_F(NetnsErrors, NoDescriptorsLeft) {
  const std::string a = name("emfile");
  const Netns ns = value(Netns::create_named(a));
  ASSERT_TRUE(open_socket(ns, AF_INET, SOCK_DGRAM, 0));
  const DurableId id = value(ns.durable());
  {
    const FewDescriptors few;
    expect_too_many_files(Netns::open(a));
    expect_too_many_files(Netns::current());
    expect_too_many_files(Netns::home());
    expect_too_many_files(ns.duplicate());
    expect_too_many_files(Netns::reopen(id));
    expect_too_many_files(Netns::of_pid(::getpid()));
    expect_too_many_files(open_socket(ns, AF_INET, SOCK_DGRAM, 0));
    expect_too_many_files(listen(ns, {"127.0.0.1", 0}));
    expect_too_many_files(read_sysctl(ns, "net/ipv4/ip_forward"));
    EXPECT_FALSE(Netns::create());
    EXPECT_FALSE(Netns::create_named(name("emfile2")));
  }
  EXPECT_EQ(kernel_here(), home_);
}

TEST_F(NetnsErrors, AThreadThatCannotLearnItsHomeGoesNowhere) {
  const Netns ns = make();
  bool ran = false;
  Result<void> visit;
  std::thread thread;
  {
    const FewDescriptors few;
    thread = std::thread([&] {
      visit = run_in(ns, [&]() -> Result<void> {
        ran = true;
        return {};
      });
    });
    thread.join();
  }
  expect_too_many_files(visit);
  EXPECT_FALSE(ran);
}

TEST_F(NetnsErrors, TheLimitOfNamespaces) {
  const int code = in_child([] {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return kNoUserNamespace;
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << "0 0 1";
    std::ofstream("/proc/self/gid_map") << "0 0 1";
    std::ofstream("/proc/sys/user/max_net_namespaces") << "3";
    if (!resync()) return 1;
    const std::uint64_t here = kernel_here();
    std::vector<Netns> made;
    for (int i = 0; i < 8; ++i) {
      auto ns = Netns::create();
      if (ns) {
        made.push_back(std::move(*ns));
        continue;
      }
      const bool clear =
          ns.error().sys_errno == ENOSPC && ns.error().hint.find("max_net_namespaces") != std::string::npos;
      return clear && made.size() == 2 && kernel_here() == here ? 0 : 2;
    }
    return 3;
  });
  if (code == kNoUserNamespace) GTEST_SKIP() << "no user namespaces here, or a sanitizer's thread forbids them";
  EXPECT_EQ(code, 0);
}

TEST_F(NetnsErrors, AUserNamespaceWithoutRights) {
  const std::string a = name("rights");
  const Netns ns = value(Netns::create_named(a));
  const DurableId id = value(ns.durable());
  const int code = in_child([&] {
    const std::uint64_t here = kernel_here();
    if (::unshare(CLONE_NEWUSER) != 0) return kNoUserNamespace;
    bool ran = false;
    const auto visit = run_in(ns, [&]() -> Result<void> {
      ran = true;
      return {};
    });
    if (ran || visit || visit.error().code != Errc::permission || visit.error().hint.empty()) return 1;
    const auto socket = open_socket(ns, AF_INET, SOCK_DGRAM, 0);
    if (socket || socket.error().code != Errc::permission) return 2;
    const auto again = Netns::reopen(id);
    if (again ? again->id() != ns.id() : again.error().code == Errc::not_found) return 3;
    return kernel_here() == here ? 0 : 4;
  });
  if (code == kNoUserNamespace) GTEST_SKIP() << "no user namespaces here, or a sanitizer's thread forbids them";
  EXPECT_EQ(code, 0);
}

TEST_F(NetnsErrors, WhatIsNoNamespaceOrIsGone) {
  const std::string plain = name("plain");
  value(Netns::create_named(name("dir")));
  ::close(::open(("/run/netns/" + plain).c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0));
  const auto file = Netns::open(plain);
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message, HasSubstr("is not a network namespace"));
  const auto missing = Netns::open(name("missing"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::not_found);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  // Dead, but not yet waited for: the number is still taken.
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  const auto zombie = Netns::of_pid(child);
  ASSERT_FALSE(zombie);
  EXPECT_EQ(zombie.error().code, Errc::not_found) << zombie.error().message;
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST_F(NetnsErrors, ADescriptorThatIsNoLongerTheNamespace) {
  Netns ns = make();
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_GE(::dup2(null.get(), ns.fd()), 0);
  bool ran = false;
  const auto visit = run_in(ns, [&]() -> Result<void> {
    ran = true;
    return {};
  });
  EXPECT_FALSE(visit);
  EXPECT_FALSE(ran);
}

TEST_F(NetnsErrors, ADescriptorThatBecameAnotherNamespaceGivesNoSocket) {
  const Netns ns = make();
  const Netns other = make();
  set_audit_interval(1);
  ASSERT_GE(::dup2(other.fd(), ns.fd()), 0);
  const auto socket = open_socket(ns, AF_INET, SOCK_DGRAM, 0);
  ASSERT_FALSE(socket);
  EXPECT_THAT(socket.error().message, HasSubstr("no longer stands for it"));
}

}  // namespace
}  // namespace weir::netns
