// The census against what was made, and against ip(8) and lsns(8).
#include "netns/census.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "support/namespaces.h"
#include "support/process.h"
#include "support/publish.h"

namespace weir::netns {
namespace {

using test::NameFolder;
using test::Order;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const Resident* find(const Census& census, std::uint64_t id) {
  const auto found = std::ranges::find(census.residents, id, &Resident::id);
  return found == census.residents.end() ? nullptr : &*found;
}

/// A child that did something and then holds it until it is dropped; it says an id once it is ready.
class Holder {
 public:
  /// `body` returns the id of the namespace that is held; what it opens stays open.
  explicit Holder(const std::function<std::uint64_t()>& body) {
    std::array<int, 2> pipe{};
    NameFolder::check(::pipe(pipe.data()) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const std::uint64_t id = body();
      static_cast<void>(!::write(pipe[1], &id, sizeof id));
      for (;;) ::pause();
    }
    static_cast<void>(!::read(pipe[0], &id_, sizeof id_));
    ::close(pipe[0]);
    ::close(pipe[1]);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  ~Holder() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  std::uint64_t id_ = 0;
};

std::uint64_t unshared() {
  if (::unshare(CLONE_NEWNET) != 0) return 0;
  const auto ns = Netns::current();
  return ns ? ns->id() : 0;
}

class CensusTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  static Census take(const CensusOptions& options = {}) {
    auto census = take_census(options);
    if (!census) throw std::runtime_error(census.error().message);
    return std::move(*census);
  }
};

TEST_F(CensusTest, TheInitialOneComesFirst) {
  const auto before = Netns::current();
  const Census census = take();
  ASSERT_FALSE(census.residents.empty());
  const Resident& init = census.residents.front();
  EXPECT_EQ(init.display(), "init");
  EXPECT_EQ(init.id, Netns::initial()->id());
  EXPECT_THAT(init.devices.value(), Contains("lo"));
  EXPECT_FALSE(init.workload.has_value());
  ASSERT_TRUE(init.since.has_value());
  EXPECT_EQ(init.since->source, Since::Source::process);
  EXPECT_LT(init.since->time, std::chrono::system_clock::now());
  EXPECT_EQ(Netns::current()->id(), before->id());
}

TEST_F(CensusTest, AProcessItsSocketsAndItsDevices) {
  const Holder child([] {
    const std::uint64_t id = unshared();
    for (int i = 0; i < 3; ++i) static_cast<void>(::socket(AF_INET6, SOCK_STREAM, 0));
    static_cast<void>(::system("ip link add veth7 type veth peer name veth8"));  // NOLINT: fixed words only
    ::prctl(PR_SET_NAME, "weir-held");
    return id;
  });
  const Census census = take();
  const Resident* found = find(census, child.id());
  ASSERT_NE(found, nullptr);
  EXPECT_THAT(found->pids, ElementsAre(child.pid()));
  EXPECT_THAT(found->names, IsEmpty());
  EXPECT_EQ(found->display(), "id:" + std::to_string(child.id()));
  ASSERT_EQ(found->processes.size(), 1U);
  EXPECT_EQ(found->processes[0].comm, "weir-held");
  EXPECT_THAT(found->devices.value(), ::testing::UnorderedElementsAre("lo", "veth7", "veth8"));
  // The netlink sockets of ip(8) go a moment after their last reference.
  EXPECT_TRUE(test::eventually([&] { return find(take(), child.id())->sockets == 3U; }));
  ASSERT_TRUE(found->since.has_value());
  EXPECT_EQ(found->since->source, Since::Source::process);
  EXPECT_LT(std::chrono::system_clock::now() - found->since->time, std::chrono::minutes(1));
  EXPECT_TRUE(found->workload.has_value());
  EXPECT_EQ(open(*found)->id(), child.id());
}

TEST_F(CensusTest, AThreadAway) {
  const Holder child([] {
    static std::uint64_t id = 0;
    static std::atomic<bool> ready{false};
    std::thread([] {
      id = unshared();
      ready = true;
      ready.notify_one();
      for (;;) ::pause();
    }).detach();
    ready.wait(false);
    return id;
  });
  const Census census = take();
  const Resident* found = find(census, child.id());
  ASSERT_NE(found, nullptr);
  EXPECT_THAT(found->pids, IsEmpty());
  EXPECT_EQ(found->threads.size(), 1U);
  EXPECT_EQ(open(*found)->id(), child.id());
}

TEST_F(CensusTest, MountsHereAndInOtherMountNamespaces) {
  const NameFolder folder;
  folder.publish(Order::unshare_file_mount, "here");
  const std::uint64_t here = Netns::open(folder.names() + "/here")->id();
  const std::string place = folder.root() + "/there";
  NameFolder::touch(place);
  const Holder child([&]() -> std::uint64_t {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", "none", MS_PRIVATE | MS_REC, nullptr) != 0) return 0;
    std::uint64_t id = 0;
    std::thread([&] {
      id = unshared();
      if (::mount("/proc/thread-self/ns/net", place.c_str(), "none", MS_BIND, nullptr) != 0) id = 0;
    }).join();
    return id;
  });
  const Census census = take();
  const Resident* found = find(census, here);
  ASSERT_NE(found, nullptr);
  EXPECT_THAT(found->mounts, ElementsAre(folder.names() + "/here"));
  ASSERT_TRUE(found->since.has_value());
  EXPECT_EQ(found->since->source, Since::Source::mount);
  EXPECT_LT(std::chrono::system_clock::now() - found->since->time, std::chrono::minutes(1));
  found = find(census, child.id());
  ASSERT_NE(found, nullptr);
  EXPECT_THAT(found->mounts, ElementsAre("pid:" + std::to_string(child.pid()) + ":" + place));
  EXPECT_EQ(open(*found)->id(), child.id());
}

TEST_F(CensusTest, DescriptorsAndSocketsWhenAskedFor) {
  const auto from_thread = [](bool socket) {
    return [socket] {
      std::uint64_t id = 0;
      std::thread([&] {
        id = unshared();
        if (socket) {
          static_cast<void>(::socket(AF_INET, SOCK_DGRAM, 0));
        } else {
          static_cast<void>(::open("/proc/thread-self/ns/net", O_RDONLY));
        }
      }).join();
      return id;
    };
  };
  const Holder by_fd(from_thread(false));
  const Holder by_socket(from_thread(true));
  const Census shallow = take();
  EXPECT_EQ(find(shallow, by_fd.id()), nullptr);
  EXPECT_EQ(find(shallow, by_socket.id()), nullptr);
  const Census deep = take({.deep = true});
  for (const Holder* holder : {&by_fd, &by_socket}) {
    const Resident* found = find(deep, holder->id());
    ASSERT_NE(found, nullptr);
    ASSERT_EQ(found->holders.size(), 1U);
    EXPECT_EQ(found->holders[0].pid, holder->pid());
    EXPECT_EQ(found->holders[0].socket, holder == &by_socket);
    EXPECT_EQ(open(*found)->id(), holder->id());
  }
  const Census bounded = take({.deep = true, .max_sockets = 0});
  EXPECT_EQ(find(bounded, by_socket.id()), nullptr);
  EXPECT_THAT(bounded.gaps.unreadable, Contains(HasSubstr("more than 0 sockets")));
}

TEST_F(CensusTest, WhatCannotBeOpenedIsSaid) {
  const NameFolder folder;
  folder.publish(Order::unshare_file_mount, "covered");
  const std::string covered = folder.names() + "/covered";
  const std::uint64_t id = Netns::open(covered)->id();
  NameFolder::bind("/etc/hostname", covered);
  const std::string name = "weir-ct" + std::to_string(::getpid());
  ASSERT_TRUE(Netns::create_named(name));
  const std::string plain = "/run/netns/" + name + "-plain";
  NameFolder::touch(plain);
  const Census census = take();
  ::unlink(plain.c_str());
  EXPECT_TRUE(Netns::remove_named(name));
  EXPECT_EQ(find(census, id), nullptr);
  EXPECT_THAT(census.gaps.hidden, Contains(HasSubstr(covered)));
  EXPECT_THAT(census.gaps.hidden, ::testing::Not(Contains(HasSubstr("/run/netns/" + name))));
  EXPECT_THAT(census.gaps.unreadable, Contains(HasSubstr(plain)));
}

TEST_F(CensusTest, NamesAreThoseOfIp) {
  const std::string stem = "weir-ci" + std::to_string(::getpid()) + "-";
  std::vector<std::string> made;
  for (const char* which : {"a", "b"}) {
    made.push_back(stem + which);
    ASSERT_TRUE(Netns::create_named(made.back()));
  }
  const Census census = take();
  const auto listed = nlohmann::json::parse(test::run({"ip", "-j", "netns", "list"}).out);
  std::vector<std::string> ours;
  for (const Resident& resident : census.residents) {
    for (const std::string& name : resident.names) {
      if (name.starts_with(stem)) ours.push_back(name);
    }
  }
  std::vector<std::string> theirs;
  for (const auto& row : listed) {
    if (row["name"].get<std::string>().starts_with(stem)) theirs.push_back(row["name"]);
  }
  for (const std::string& name : made) EXPECT_TRUE(Netns::remove_named(name));
  std::ranges::sort(theirs);
  EXPECT_EQ(ours, theirs);
  EXPECT_EQ(ours, made);
}

TEST_F(CensusTest, EveryNamespaceOfLsnsIsThere) {
  const Holder child([] { return unshared(); });
  const auto listed = nlohmann::json::parse(test::run({"lsns", "-J", "-t", "net", "-o", "NS,NPROCS,PID"}).out);
  const Census census = take();
  bool ours = false;
  for (const auto& row : listed["namespaces"]) {
    const auto pid = row["pid"].get<pid_t>();
    if (::kill(pid, 0) != 0) continue;  // gone since
    const auto found = std::ranges::find(census.residents, row["ns"].get<std::uint64_t>(), &Resident::inode);
    ASSERT_NE(found, census.residents.end()) << row;
    EXPECT_THAT(found->pids, Contains(pid));
    ours = ours || found->id == child.id();
  }
  EXPECT_TRUE(ours);
}

}  // namespace
}  // namespace weir::netns
