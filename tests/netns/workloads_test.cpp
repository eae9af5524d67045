// Workloads of this host: cgroups that were made here, processes in them, namespaces that they share, and TAPs.
#include "observe/workloads/workloads.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "observe/workloads/cgroups.h"
#include "support/cgroup.h"
#include "support/netns_fixture.h"

namespace weir::observe {
namespace {

using test::CgroupFolder;
using test::eventually;
using test::Tenant;

std::string some_id(char digit) {
  std::string id = std::to_string(::getpid());
  id.resize(64, digit);
  return id;
}

/// The folder of this test, so that two runs do not meet.
std::string folder() {
  return "/weir-test-" + std::to_string(::getpid());
}

std::uint64_t unshared() {
  if (::unshare(CLONE_NEWNET) != 0) return 0;
  const auto ns = netns::Netns::current();
  return ns ? ns->id() : 0;
}

std::uint64_t this_netns() {
  const auto ns = netns::Netns::current();
  return ns ? ns->id() : 0;
}

std::string name_of(const model::WorkloadRef* workload) {
  return workload == nullptr ? std::string("-") : workload->name;
}

/// A TAP of that name in the caller's namespace, for as long as the descriptor is open.
int open_tap(const char* name) {
  const int fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  return fd >= 0 && ::ioctl(fd, TUNSETIFF, &request) == 0 ? fd : -1;
}

class WorkloadsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (!test::unified_cgroups()) GTEST_SKIP() << "cgroup v2 is not mounted here, or not for writing";
  }
};

TEST_F(WorkloadsTest, ACgroupsIdLeadsToItsPath) {
  CgroupFolder scope(folder() + "/docker-" + some_id('a') + ".scope");
  Cgroups cgroups = Cgroups::open();
  const std::uint64_t id = scope.id();
  EXPECT_EQ(cgroups.path(id).value_or("?"), scope.path());
  EXPECT_EQ(cgroups.path(1).value_or("?"), "/");
  const auto workload = cgroups.workload(id);
  ASSERT_TRUE(workload && *workload);
  EXPECT_EQ((*workload)->id, some_id('a'));
  EXPECT_EQ((*workload)->runtime, "docker");
  scope.remove();
  const auto gone = cgroups.path(id);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Errc::not_found) << gone.error().message;
}

TEST_F(WorkloadsTest, WithoutHandlesTheTreeIsWalked) {
  const CgroupFolder scope(folder() + "/deep/er/docker-" + some_id('b') + ".scope");
  const std::uint64_t id = scope.id();
  // CAP_DAC_READ_SEARCH is what open_by_handle_at(2) asks for.
  EXPECT_EQ(test::in_child([&] {
              __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
              std::array<__user_cap_data_struct, 2> sets{};
              if (::syscall(SYS_capget, &header, sets.data()) != 0) return 2;
              sets[0].effective &= ~(1U << CAP_DAC_READ_SEARCH);
              if (::syscall(SYS_capset, &header, sets.data()) != 0) return 3;
              Cgroups cgroups = Cgroups::open();
              if (cgroups.path(id).value_or("?") != scope.path()) return 4;
              const auto unknown = cgroups.path(id + 1'000'000'000);
              return !unknown && unknown.error().code == Errc::busy ? 0 : 5;
            }),
            0);
}

TEST_F(WorkloadsTest, WithoutAMountInSightOneIsMadeThatNobodySees) {
  const CgroupFolder scope(folder() + "/docker-" + some_id('c') + ".scope");
  const std::uint64_t id = scope.id();
  EXPECT_EQ(test::in_child([&] {
              if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", "none", MS_PRIVATE | MS_REC, nullptr) != 0) return 2;
              while (const auto point = test::unified_cgroups()) {
                if (::umount2(point->c_str(), MNT_DETACH) != 0) return 3;
              }
              Cgroups cgroups = Cgroups::open();
              if (test::unified_cgroups()) return 4;
              return cgroups.path(id).value_or("?") == scope.path() ? 0 : 5;
            }),
            0);
}

TEST_F(WorkloadsTest, WhereContainersStandInV1OnlyTheirProcessesTell) {
  const auto legacy = test::mounted_cgroups("cgroup");
  if (!legacy) GTEST_SKIP() << "this host has cgroup v2 only";
  const CgroupFolder unified(folder() + "/containerd.service");
  const CgroupFolder first(folder() + "/docker/" + some_id('1'), *legacy);
  const CgroupFolder second(folder() + "/docker/" + some_id('2'), *legacy);
  const auto move_into = [&](const CgroupFolder& container) {
    return [&] {
      unified.enter();
      container.enter();
      return std::uint64_t{1};
    };
  };
  Cgroups cgroups = Cgroups::open();
  const auto name = [&] {
    const auto workload = cgroups.workload(unified.id());
    return !workload ? "?" : *workload ? (*workload)->name : std::string("-");
  };
  EXPECT_EQ(name(), "containerd.service");
  const Tenant one(move_into(first));
  EXPECT_EQ(name(), "docker-" + some_id('1').substr(0, 12));
  const Tenant other(move_into(second));
  EXPECT_EQ(name(), "-") << "neither of the two";
}

/// A container as runc makes it: the host's /usr, a network namespace of its own.
class RuncContainer {
 public:
  RuncContainer(const std::string& name, const std::string& cgroup) : name_(name) {
    std::filesystem::create_directories(bundle_ + "/rootfs/usr");
    for (const char* link : {"bin", "lib", "lib64"}) {
      std::filesystem::create_symlink(std::string("usr/") + link, bundle_ + "/rootfs/" + link);
    }
    std::ofstream(bundle_ + "/config.json") << R"({"ociVersion":"1.0.2","root":{"path":"rootfs","readonly":true},
      "process":{"user":{"uid":0,"gid":0},"args":["/bin/sleep","60"],"cwd":"/","env":["PATH=/bin"]},
      "mounts":[{"destination":"/proc","type":"proc","source":"proc"},
                {"destination":"/usr","type":"bind","source":"/usr","options":["rbind","ro"]}],
      "linux":{"namespaces":[{"type":"pid"},{"type":"network"},{"type":"mount"}],"cgroupsPath":")"
                                            << cgroup << "\"}}";
    started_ = test::run({"runc", "run", "-d", "--bundle", bundle_, "--pid-file", bundle_ + "/pid", name_});
    std::ifstream(bundle_ + "/pid") >> pid_;
  }
  RuncContainer(const RuncContainer&) = delete;
  RuncContainer& operator=(const RuncContainer&) = delete;
  ~RuncContainer() {
    static_cast<void>(test::run({"runc", "delete", "-f", name_}));
    std::filesystem::remove_all(bundle_);
  }
  [[nodiscard]] const test::Outcome& started() const { return started_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  std::string name_;
  std::string bundle_ = std::filesystem::temp_directory_path() / ("weir-runc-" + std::to_string(::getpid()));
  test::Outcome started_;
  pid_t pid_ = 0;
};

TEST_F(WorkloadsTest, AContainerOfRunc) {
  if (test::run({"sh", "-c", "command -v runc"}).code != 0) GTEST_SKIP() << "needs runc";
  // runc leaves the directories above its own: in each hierarchy they are made here first, and taken away after.
  std::vector<std::unique_ptr<CgroupFolder>> above;
  for (const std::string& root : test::all_cgroups()) {
    above.push_back(std::make_unique<CgroupFolder>(folder() + "/docker", root));
  }
  const RuncContainer container("weir-test-" + std::to_string(::getpid()), folder() + "/docker/" + some_id('9'));
  if (container.started().code != 0) GTEST_SKIP() << "runc cannot run here: " << container.started().err;
  const auto ns = netns::Netns::open("pid:" + std::to_string(container.pid()));
  ASSERT_TRUE(ns);
  Workloads workloads;
  const model::WorkloadRef* workload = workloads.of(0, ns->id());
  ASSERT_NE(workload, nullptr);
  EXPECT_EQ(workload->runtime, "docker");
  EXPECT_EQ(workload->id, some_id('9'));
}

TEST_F(WorkloadsTest, ANamespaceBelongsToTheContainerInIt) {
  const CgroupFolder scope(folder() + "/docker-" + some_id('d') + ".scope");
  Workloads workloads;
  const Tenant tenant([&] {
    scope.enter();
    return unshared();
  });
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually([&] { return workloads.of(0, tenant.value()) != nullptr; }));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(1200));
  const model::WorkloadRef* workload = workloads.of(0, tenant.value());
  EXPECT_EQ(workload->kind, "container");
  EXPECT_EQ(workload->id, some_id('d'));
  EXPECT_EQ(workload->name, "docker-" + some_id('d').substr(0, 12));
  EXPECT_EQ(name_of(workloads.of(scope.id(), this_netns())), workload->name) << "by the cgroup of its sockets alone";
  EXPECT_EQ(workloads.of(0, this_netns()), nullptr);
}

TEST_F(WorkloadsTest, WhatIsGoneKeepsItsName) {
  CgroupFolder scope(folder() + "/docker-" + some_id('e') + ".scope");
  Workloads workloads;
  Tenant tenant([&] {
    scope.enter();
    return unshared();
  });
  const std::uint64_t cgroup = scope.id();
  ASSERT_TRUE(eventually([&] { return workloads.of(0, tenant.value()) != nullptr; }));
  ASSERT_NE(workloads.of(cgroup, tenant.value()), nullptr);
  const std::string name = name_of(workloads.of(0, tenant.value()));
  tenant.end();
  scope.remove();
  // Until the next census, and after it.
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  const bool lost = eventually(
      [&] {
        return name_of(workloads.of(0, tenant.value())) != name || name_of(workloads.of(cgroup, 0)) != name ||
               workloads.of(0, 1) != nullptr || std::chrono::steady_clock::now() > until;
      },
      std::chrono::seconds(5));
  EXPECT_TRUE(lost && std::chrono::steady_clock::now() > until);
}

TEST_F(WorkloadsTest, ASharedNamespaceIsThePods) {
  const std::string uid = "2c48913c-b29f-11e7-9350-020968147796";
  const std::string pod = folder() + "/kubepods/besteffort/pod" + uid;
  const CgroupFolder first(pod + "/" + some_id('1'));
  const CgroupFolder second(pod + "/" + some_id('2'));
  const CgroupFolder other(folder() + "/docker-" + some_id('3') + ".scope");
  const Tenant pause([&] {
    first.enter();
    return unshared();
  });
  const std::string path = "/proc/" + std::to_string(pause.pid()) + "/ns/net";
  const auto join = [&](const CgroupFolder& cgroup) {
    return [&] {
      cgroup.enter();
      const sys::Fd ns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      return ::setns(ns.get(), CLONE_NEWNET) == 0 ? this_netns() : 0;
    };
  };
  const Tenant worker(join(second));
  ASSERT_EQ(worker.value(), pause.value());
  Workloads workloads;
  const model::WorkloadRef* workload = workloads.of(0, pause.value());
  ASSERT_NE(workload, nullptr);
  EXPECT_EQ(workload->kind, "pod");
  EXPECT_EQ(workload->pod, uid);
  workload = workloads.of(second.id(), pause.value());
  ASSERT_NE(workload, nullptr);
  EXPECT_EQ(workload->id, some_id('2')) << "the socket knows better";
  EXPECT_EQ(workload->pod, uid);
  const Tenant stranger(join(other));
  ASSERT_EQ(stranger.value(), pause.value());
  Workloads later;
  EXPECT_EQ(later.of(0, pause.value()), nullptr) << "nobody's rather than somebody's twice";
  EXPECT_EQ(name_of(later.of(other.id(), pause.value())), "docker-" + some_id('3').substr(0, 12));
}

TEST_F(WorkloadsTest, ATapIsItsHolders) {
  const Tenant holder([&]() -> std::uint64_t {
    const std::uint64_t id = unshared();
    ::prctl(PR_SET_NAME, "weir-tapper");
    return open_tap("tap7") >= 0 ? id : 0;
  });
  ASSERT_NE(holder.value(), 0U);
  Workloads workloads;
  const model::WorkloadRef* workload = workloads.of_tap(holder.value(), "tap7");
  ASSERT_NE(workload, nullptr);
  EXPECT_EQ(workload->kind, "process");
  EXPECT_EQ(workload->name, "weir-tapper");
  EXPECT_EQ(workload->id, std::to_string(holder.pid()));
  EXPECT_EQ(workloads.of_tap(this_netns(), "tap7"), nullptr);
  const auto taps = find_held_taps();
  const auto found = std::ranges::find(taps, holder.value(), &HeldTap::netns);
  ASSERT_NE(found, taps.end());
  EXPECT_EQ(name_of(workloads.of_tap(holder.value(), found->ifindex)), "weir-tapper");
}

TEST_F(WorkloadsTest, ATapThatMovedIsFoundWhereItIs) {
  const CgroupFolder scope(folder() + "/machine-qemu\\x2d7\\x2dweb\\x2ddb.scope");
  // As libvirt does it: made in one namespace, used from there, and the device lives in another.
  const Tenant elsewhere([] { return unshared(); });
  const Tenant holder([&]() -> std::uint64_t {
    scope.enter();
    const std::uint64_t id = unshared();
    if (open_tap("tap8") < 0) return 0;
    const std::string command = "ip link set tap8 netns " + std::to_string(elsewhere.pid());
    return ::system(command.c_str()) == 0 ? id : 0;  // NOLINT: fixed words and a number
  });
  ASSERT_NE(holder.value(), 0U);
  Workloads workloads;
  const model::WorkloadRef* workload = workloads.of_tap(elsewhere.value(), "tap8");
  ASSERT_NE(workload, nullptr);
  EXPECT_EQ(workload->kind, "vm");
  EXPECT_EQ(workload->name, "web-db");
  EXPECT_EQ(workloads.of_tap(holder.value(), "tap8"), nullptr);
}

TEST_F(WorkloadsTest, AskingForWhatIsKnownIsCheap) {
  const CgroupFolder scope(folder() + "/docker-" + some_id('f') + ".scope");
  Workloads workloads;
  const std::uint64_t cgroup = scope.id();
  const std::uint64_t netns = this_netns();
  ASSERT_NE(workloads.of(cgroup, netns), nullptr);
  int system_calls = 0;
  WorkloadSources counted = host_workload_sources();
  counted.cgroup = [&, ask = counted.cgroup](std::uint64_t id) {
    ++system_calls;
    return ask(id);
  };
  Workloads again(std::move(counted));
  for (int i = 0; i < 100'000; ++i) ASSERT_NE(again.of(cgroup, netns), nullptr);
  EXPECT_LE(system_calls, 2);
}

}  // namespace
}  // namespace weir::observe
