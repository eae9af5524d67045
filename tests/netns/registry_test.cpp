// Names of namespaces as they come and go: none too early, none missed, whatever tells of them.
#include "netns/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "netns/mounts.h"
#include "netns/registry_state.h"
#include "support/process.h"
#include "support/publish.h"

namespace weir::netns {
namespace {

using namespace std::chrono_literals;
using test::NameFolder;
using test::Order;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Kind = RegistryEvent::Kind;
using Steady = std::chrono::steady_clock;

TEST(NsMounts, OnlyNetworkNamespacesAndWholeLines) {
  const auto mounts = detail::parse_ns_mounts(
      "22 1 0:21 / /sys rw shared:7 - sysfs sysfs rw\n"
      "301 25 0:4 net:[4026532281] /run/netns/a\\040b rw shared:9 master:2 - nsfs nsfs rw\n"
      "302 25 0:4 mnt:[4026532282] /run/x rw - nsfs nsfs rw\n"
      "303 25 0:5 /net:[1] /srv/ net:[2] rw - ext4 /dev/sda rw\n"
      "304 25 0:4 net:[12x] /run/y rw - nsfs nsfs rw\n"
      "305 25 0:4 net:[4026532283] /run/netns/c rw - nsfs nsfs rw\n"
      "306 25 0:4 net:[4026532284] /ru");
  EXPECT_THAT(mounts, ElementsAre(detail::NsMount{301, 4026532281, "/run/netns/a b"},
                                  detail::NsMount{305, 4026532283, "/run/netns/c"}));
  EXPECT_THAT(detail::parse_ns_mounts(""), IsEmpty());
}

TEST(NameTable, TellsWhatDiffersInAnOrderThatCanBeFollowed) {
  detail::NameTable table;
  table.set("/d/a", 5);
  table.set("/d/b", 5);
  auto changes = table.take_changes();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_THAT(changes[0].before, IsEmpty());
  EXPECT_THAT(changes[0].after, ElementsAre("/d/a", "/d/b"));
  table.set("/d/b", std::nullopt);  // 5 keeps a
  table.set("/d/c", 3);
  changes = table.take_changes();
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].id, 5U);
  table.set("/d/c", 9);  // gone before ready, though 9 > 3 would be so anyway
  table.set("/d/a", 2);
  changes = table.take_changes();
  ASSERT_EQ(changes.size(), 4U);
  EXPECT_TRUE(changes[0].after.empty() && changes[1].after.empty());
  EXPECT_TRUE(changes[2].before.empty() && changes[3].before.empty());
  table.set("/d/x", 7);
  table.set("/d/x", std::nullopt);
  EXPECT_THAT(table.take_changes(), IsEmpty());
  EXPECT_THAT(table.paths("/d"), ElementsAre("/d/a", "/d/c"));
}

const char* word(RegistrySource source) {
  constexpr const char* kWords[] = {"best", "mount events", "mountinfo", "directories"};
  return kWords[static_cast<std::size_t>(source)];
}

class RegistryTest : public ::testing::TestWithParam<RegistrySource> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    folder_.emplace();
    RegistryOptions options;
    options.source = GetParam();
    options.directories = {folder_->names()};
    watch(options);
  }
  void watch(const RegistryOptions& options) {
    registry_.reset();
    auto opened = Registry::open(options);
    if (!opened && opened.error().code == Errc::unsupported) GTEST_SKIP() << opened.error().message;
    ASSERT_TRUE(opened) << opened.error().message;
    registry_.emplace(std::move(*opened));
  }
  std::string path(const std::string& name) const { return folder_->names() + "/" + name; }
  std::uint64_t id_of(const std::string& name) const {
    const auto ns = Netns::open(path(name));
    return ns ? ns->id() : 0;
  }
  /// The next event; fails when none comes in time.
  RegistryEvent next() {
    const auto deadline = Steady::now() + 10s;
    while (queue_.empty() && Steady::now() < deadline) {
      auto events = registry_->wait(1s);
      if (!events) {
        ADD_FAILURE() << events.error().message;
        break;
      }
      for (RegistryEvent& event : *events) queue_.push_back(std::move(event));
    }
    if (queue_.empty()) {
      ADD_FAILURE() << "no event came";
      return {};
    }
    RegistryEvent event = std::move(queue_.front());
    queue_.erase(queue_.begin());
    return event;
  }
  void expect_next(Kind kind, std::uint64_t id, const std::vector<std::string>& names) {
    const RegistryEvent event = next();
    EXPECT_EQ(static_cast<int>(event.kind), static_cast<int>(kind));
    EXPECT_EQ(event.id, id);
    EXPECT_EQ(event.names, names);
  }

  std::optional<NameFolder> folder_;
  std::optional<Registry> registry_;
  std::vector<RegistryEvent> queue_;
};

/// Publishes names one by one while the registry is watched: each ready name must open at the first attempt.
TEST_P(RegistryTest, ReadyNamesOpenAtTheFirstAttempt) {
  RegistryOptions options;
  options.source = GetParam();
  options.directories = {folder_->names(), "/run/netns"};
  watch(options);
  const int rounds = GetParam() == RegistrySource::mount_events ? 500 : 150;
  std::size_t wrong = 0;
  for (const Order order : test::kOrders) {
    const int count = order == Order::ip ? rounds / 10 : rounds;
    std::atomic<int> seen{0};
    std::atomic<bool> failed{false};
    const std::string stem = "weir-rt" + std::to_string(::getpid()) + "-";
    std::thread publisher([&] {
      try {
        for (int i = 0; i < count && !failed; ++i) {
          const std::string name = stem + std::to_string(i % 7);  // names come again at once
          folder_->publish(order, name);
          while (seen.load() <= i && !failed) seen.wait(i);
          folder_->remove(order, name);
        }
      } catch (const std::runtime_error&) {
        failed = true;
      }
    });
    std::map<std::string, std::uint64_t> alive;
    const auto deadline = Steady::now() + 60s;
    int ready = 0;
    while ((ready < count || !alive.empty()) && Steady::now() < deadline && !failed) {
      auto events = registry_->wait(1s);
      ASSERT_TRUE(events) << events.error().message;
      for (const RegistryEvent& event : *events) {
        if (!event.name.starts_with(folder_->called(order, stem))) continue;  // another program's
        if (event.kind == Kind::gone) {
          EXPECT_EQ(alive[event.name], event.id);
          alive.erase(event.name);
        }
        if (event.kind != Kind::ready) continue;
        const auto opened = Netns::open(event.name);
        if (!opened || opened->id() != event.id || !event.netns || event.netns->id() != event.id) ++wrong;
        EXPECT_TRUE(alive.emplace(event.name, event.id).second) << event.name << " was ready already";
        ++ready;
        seen = ready;
        seen.notify_one();
      }
    }
    if (ready < count) failed = true;
    seen = count;
    seen.notify_one();
    publisher.join();
    EXPECT_EQ(ready, count) << test::to_string(order);
    EXPECT_THAT(alive, IsEmpty()) << test::to_string(order);
  }
  EXPECT_EQ(wrong, 0U);
}

TEST_P(RegistryTest, WhatExistsIsToldFirst) {
  folder_->publish(Order::unshare_file_mount, "old");
  NameFolder::touch(path("plain"));
  watch({.source = GetParam(), .directories = {folder_->names()}});
  const auto events = registry_->wait(0s);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 1U);
  EXPECT_TRUE(events->front().existing);
  EXPECT_EQ(events->front().name, path("old"));
  EXPECT_EQ(events->front().id, id_of("old"));
}

TEST_P(RegistryTest, TwoNamesAreOneNamespaceAndAReusedNameIsAnother) {
  folder_->publish(Order::file_unshare_mount, "a");
  const std::uint64_t id = id_of("a");
  expect_next(Kind::ready, id, {path("a")});
  NameFolder::touch(path("b"));
  NameFolder::bind(path("a"), path("b"));
  expect_next(Kind::renamed, id, {path("a"), path("b")});
  NameFolder::unbind(path("a"));
  expect_next(Kind::renamed, id, {path("b")});
  folder_->publish(Order::prepared_mount, "a");
  expect_next(Kind::ready, id_of("a"), {path("a")});
  EXPECT_NE(id_of("a"), id);
  // One name, another namespace, with no moment without one.
  const std::uint64_t other = id_of("a");
  NameFolder::bind(path("b"), path("a"));
  expect_next(Kind::gone, other, {path("a")});
  expect_next(Kind::renamed, id, {path("a"), path("b")});
}

TEST_P(RegistryTest, CoveredNamesAreGoneUntilTheyShowAgain) {
  folder_->publish(Order::unshare_file_mount, "a");
  const std::uint64_t id = id_of("a");
  expect_next(Kind::ready, id, {path("a")});
  NameFolder::bind("/etc/hostname", path("a"));
  expect_next(Kind::gone, id, {path("a")});
  NameFolder::check(::umount2(path("a").c_str(), MNT_DETACH) == 0);
  expect_next(Kind::ready, id, {path("a")});
  if (GetParam() == RegistrySource::directories) return;  // nobody tells it of a mount on the directory
  NameFolder::check(::mount("tmpfs", folder_->names().c_str(), "tmpfs", 0, "size=1m") == 0);
  expect_next(Kind::gone, id, {path("a")});
  folder_->publish(Order::prepared_mount, "over");
  const std::uint64_t over = id_of("over");
  expect_next(Kind::ready, over, {path("over")});
  NameFolder::check(::umount2(folder_->names().c_str(), MNT_DETACH) == 0);
  expect_next(Kind::gone, over, {path("over")});
  expect_next(Kind::ready, id, {path("a")});
}

TEST_P(RegistryTest, ADirectoryMayComeLater) {
  const std::string late = folder_->root() + "/not/yet";
  watch({.source = GetParam(), .directories = {late}});
  EXPECT_THAT(*registry_->wait(0s), IsEmpty());
  std::filesystem::create_directories(late);
  NameFolder::touch(late + "/n");
  folder_->publish(Order::unshare_file_mount, "elsewhere");
  NameFolder::bind(path("elsewhere"), late + "/n");
  expect_next(Kind::ready, id_of("elsewhere"), {late + "/n"});
  NameFolder::unbind(late + "/n");
  expect_next(Kind::gone, id_of("elsewhere"), {late + "/n"});
}

TEST_P(RegistryTest, ItsDescriptorIsReadableWhenThereAreEvents) {
  pollfd sign{registry_->fd(), POLLIN, 0};
  folder_->publish(Order::unshare_file_mount, "a");
  const auto deadline = Steady::now() + 10s;
  while (queue_.empty() && Steady::now() < deadline) {
    ASSERT_EQ(::poll(&sign, 1, 10'000), 1);
    auto events = registry_->wait(0s);
    ASSERT_TRUE(events);
    for (RegistryEvent& event : *events) queue_.push_back(std::move(event));
  }
  expect_next(Kind::ready, id_of("a"), {path("a")});
}

/// A limit of the kernel, lowered for as long as this lives.
class LoweredLimit {
 public:
  LoweredLimit(std::string file, const std::string& value) : file_(std::move(file)) {
    std::ifstream(file_) >> before_;
    std::ofstream(file_) << value;
  }
  LoweredLimit(const LoweredLimit&) = delete;
  LoweredLimit& operator=(const LoweredLimit&) = delete;
  ~LoweredLimit() { std::ofstream(file_) << before_; }

 private:
  std::string file_;
  std::string before_;
};

TEST_P(RegistryTest, DroppedNotificationsAreSaidAndMadeUpFor) {
  folder_->publish(Order::unshare_file_mount, "goes");
  {
    // A queue keeps the limit that held when it was made.
    const LoweredLimit mounts("/proc/sys/fs/fanotify/max_queued_events", "4");
    const LoweredLimit entries("/proc/sys/fs/inotify/max_queued_events", "4");
    watch({.source = GetParam(), .directories = {folder_->names()}});
  }
  const std::uint64_t gone = next().id;
  std::set<std::uint64_t> expected;
  for (int i = 0; i < 20; ++i) {
    folder_->publish(Order::unshare_file_mount, std::to_string(i));
    expected.insert(id_of(std::to_string(i)));
  }
  folder_->remove(Order::unshare_file_mount, "goes");
  bool resync = false;
  std::set<std::uint64_t> ready;
  bool told_gone = false;
  while (!::testing::Test::HasFailure() && (ready != expected || !told_gone)) {
    const RegistryEvent event = next();
    if (event.kind == Kind::resync) resync = true;
    if (event.kind == Kind::gone) told_gone = event.id == gone;
    const bool known = event.kind == Kind::ready && !ready.insert(event.id).second;
    EXPECT_FALSE(known) << event.name << " was ready already";
  }
  EXPECT_TRUE(resync);
}

TEST_P(RegistryTest, MountsElsewhereAreToldWhenAskedFor) {
  if (GetParam() == RegistrySource::directories) {
    EXPECT_EQ(Registry::open({.source = GetParam(), .directories = {}, .anywhere = true}).error().code,
              Errc::unsupported);
    return;
  }
  watch({.source = GetParam(), .directories = {folder_->names()}, .anywhere = true});
  static_cast<void>(registry_->wait(0s));
  const std::string stored = folder_->store() + "/x";
  folder_->publish(Order::link, "x");
  std::vector<std::string> names;
  while (names.size() < 2 && !HasFailure()) {
    const RegistryEvent event = next();
    if (event.name.starts_with(folder_->root())) names = event.names;
  }
  EXPECT_THAT(names, ElementsAre(path("x"), stored));
}

INSTANTIATE_TEST_SUITE_P(Sources, RegistryTest,
                         ::testing::Values(RegistrySource::mount_events, RegistrySource::mountinfo,
                                           RegistrySource::directories),
                         [](const auto& test) {
                           std::string name = word(test.param);
                           std::ranges::replace(name, ' ', '_');
                           return name;
                         });

TEST(Registry, WithoutRightsItStillWatches) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give it up";
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(2);
    const auto registry = Registry::open({.source = RegistrySource::best, .directories = {"/run/netns"}});
    ::_exit(registry && registry->source() == RegistrySource::mountinfo ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace weir::netns
