// Who is who: every way of opening a namespace, ids that are written down, and 10,000 that come and go.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/syscall.h>

#include <unordered_set>

#include "netns/ns_file.h"
#include "support/netns_fixture.h"
#include "sys/poll_until.h"

namespace weir::netns {
namespace {

using ::testing::HasSubstr;

class NetnsIdentity : public test::NetnsFixture {};

TEST_F(NetnsIdentity, EveryWayOfOpeningGivesTheSameNamespace) {
  const std::string a = name("ways");
  const Netns made = value(Netns::create_named(a));
  const auto child_fd = value(open_socket(made, AF_INET, SOCK_STREAM, 0));
  EXPECT_EQ(value(Netns::open(a)), made);
  EXPECT_EQ(value(Netns::open("/run/netns/" + a)), made);
  EXPECT_EQ(value(Netns::of_socket(child_fd.get())), made);
  EXPECT_EQ(value(made.duplicate()), made);
  EXPECT_EQ(value(Netns::reopen(value(made.durable()))), made);
  EXPECT_EQ(value(Netns::open(value(made.durable()).text())), made);
  EXPECT_EQ(value(Netns::from_fd(Fd(::open(("/run/netns/" + a).c_str(), O_RDONLY | O_CLOEXEC)))), made);
  EXPECT_EQ(value(Netns::home()).id(), home_);
  EXPECT_EQ(value(current_id()), home_);
}

TEST_F(NetnsIdentity, AProcessIsFoundByNumberAndByPidfd) {
  const Netns made = make();
  int stop[2];
  ASSERT_EQ(::pipe2(stop, O_CLOEXEC), 0);
  pid_t child = -1;
  ASSERT_TRUE(run_in(made, [&]() -> Result<void> {
    child = ::fork();
    if (child == 0) {
      char byte = 0;
      ::close(stop[1]);
      ::_exit(::read(stop[0], &byte, 1) == 0 ? 0 : 1);
    }
    return {};
  }));
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  EXPECT_EQ(value(Netns::of_pid(child)), made);
  EXPECT_EQ(value(Netns::of_pidfd(pidfd.get())), made);
  ::close(stop[0]);
  ::close(stop[1]);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  for (const auto& dead : {Netns::of_pid(child), Netns::of_pidfd(pidfd.get())}) {
    ASSERT_FALSE(dead);
    EXPECT_EQ(dead.error().code, Errc::not_found) << dead.error().message;
    EXPECT_THAT(dead.error().message, HasSubstr("no network namespace"));
  }
  EXPECT_EQ(Netns::of_pid(0).error().code, Errc::usage);
  EXPECT_EQ(Netns::of_pid(-5).error().code, Errc::usage);
}

TEST_F(NetnsIdentity, DescriptorsThatAreNoProcessAndNoSocketAreRefused) {
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(Netns::of_pidfd(null.get()));
  EXPECT_FALSE(Netns::of_socket(null.get()));
  EXPECT_FALSE(Netns::of_pidfd(-1));
  EXPECT_FALSE(Netns::of_socket(-1));
}

TEST_F(NetnsIdentity, ADurableIdOutlivesTheHandleButNotTheNamespace) {
  DurableId noted;
  {
    const std::string a = name("durable");
    noted = value(value(Netns::create_named(a)).durable());
    EXPECT_FALSE(noted.weak);
    EXPECT_EQ(value(Netns::reopen(noted)).id(), noted.id);
    // What an older note lacks is found by looking.
    DurableId without_inode = noted;
    without_inode.inum = 0;
    EXPECT_EQ(value(Netns::reopen(without_inode)).id(), noted.id);
    ASSERT_TRUE(Netns::remove_named(a));
  }
  const auto gone = Netns::reopen(noted);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Errc::not_found) << gone.error().message;
}

TEST_F(NetnsIdentity, AnIdOfAnotherBootIsRefused) {
  const Netns made = make();
  DurableId other = value(made.durable());
  other.boot[3] ^= std::byte{1};
  const auto refused = Netns::reopen(other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::not_found);
  EXPECT_THAT(refused.error().message, HasSubstr("another boot"));
}

TEST_F(NetnsIdentity, TwoNamesAreOneAndAReusedNameIsAnother) {
  const std::string a = name("one");
  const std::string b = name("two");
  const Netns first = value(Netns::create_named(a));
  ::close(::open(("/run/netns/" + b).c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0));
  ASSERT_EQ(::mount(("/run/netns/" + a).c_str(), ("/run/netns/" + b).c_str(), "none", MS_BIND, nullptr), 0);
  EXPECT_EQ(value(value(Netns::open(a)).durable()), value(value(Netns::open(b)).durable()));
  const DurableId before = value(first.durable());
  ASSERT_TRUE(Netns::remove_named(a));
  EXPECT_NE(value(value(Netns::create_named(a)).durable()), before);
}

TEST_F(NetnsIdentity, ManyAreMadeAtOnceOrNone) {
  const std::vector<std::string> names{name("m1"), name("m2"), name("m3")};
  const std::vector<Netns> made = value(Netns::create_many(names));
  ASSERT_EQ(made.size(), 3U);
  for (std::size_t i = 0; i < names.size(); ++i) EXPECT_EQ(value(Netns::open(names[i])), made[i]);
  EXPECT_NE(made[0], made[1]);
  const std::vector<std::string> with_a_taken_one{name("m4"), name("m5"), names[1], name("m6")};
  const auto refused = Netns::create_many(with_a_taken_one);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::busy);
  EXPECT_THAT(refused.error().message, HasSubstr(names[1]));
  for (const std::string& fresh : {name("m4"), name("m5"), name("m6")}) EXPECT_FALSE(Netns::open(fresh)) << fresh;
  EXPECT_EQ(value(Netns::open(names[1])), made[1]) << "what was there before stays";
  EXPECT_TRUE(value(Netns::create_many({})).empty());
}

TEST_F(NetnsIdentity, AnInodeIsTheWeakIdentity) {
  const Netns made = make();
  EXPECT_FALSE(made.weak());
  EXPECT_EQ(value(detail::ns_inode(made.fd())), value(made.durable()).inum);
}

TEST_F(NetnsIdentity, TenThousandComeAndGoAndNoneComesBack) {
  constexpr std::size_t kCycles = 10'000;
  std::unordered_set<DurableId> ids;
  std::unordered_set<std::uint32_t> inodes;
  // One thread that unshares again and again: each namespace is gone when the next is made.
  std::thread maker([&] {
    for (std::size_t i = 0; i < kCycles; ++i) {
      // A small machine may have but few at once, and takes them apart in the background.
      const auto unshared = [] { return ::unshare(CLONE_NEWNET) == 0 || errno != ENOSPC; };
      if (!sys::poll_until(std::chrono::steady_clock::now() + std::chrono::seconds(30), unshared)) return;
      const auto current = Netns::current();
      if (!current) return;
      const auto id = current->durable();
      if (!id) return;
      ids.insert(*id);
      inodes.insert(id->inum);
    }
  });
  maker.join();
  EXPECT_EQ(ids.size(), kCycles);
  // Otherwise nothing was proved: inodes do repeat when namespaces go.
  EXPECT_LT(inodes.size(), kCycles);
}

}  // namespace
}  // namespace weir::netns
