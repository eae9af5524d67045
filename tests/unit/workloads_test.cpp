// Workloads on a made-up host: what is asked when, who wins, and what is remembered.
#include "observe/workloads/workloads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "observe/workloads/cgroups.h"
#include "observe/workloads/guests.h"

namespace weir::observe {
namespace {

using netns::Workload;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = Workload::Kind;

const Workload kContainer{Kind::container, "docker-a", "a", "", "docker"};
const Workload kPod{Kind::pod, "pod-p", "p", "p", ""};
const Workload kService{Kind::service, "nginx.service", "nginx.service", "", "systemd"};
const Workload kSession{Kind::session, "session-1.scope", "session-1.scope", "", "systemd"};
const Workload kProcess{Kind::process, "iperf3", "77", "", ""};

constexpr std::uint64_t kInit = 1;

model::DeviceConfig device(std::uint32_t ifindex, const std::string& name, const std::string& kind) {
  model::DeviceConfig device;
  device.ref = {{kInit, "init"}, IfIndex{ifindex}, name};
  device.link_kind = kind;
  return device;
}

/// A host that is changed by hand, with a clock that is too.
class WorkloadsTest : public ::testing::Test {
 protected:
  WorkloadSources sources() {
    return {.census = [this]() -> Result<netns::Census> {
              ++censuses_;
              now_ += census_cost_;
              netns::Census census;
              netns::Resident init;
              init.id = kInit;
              init.initial = true;
              init.pids = {1};
              census.residents.push_back(init);
              for (const auto& [id, workload] : namespaces_) {
                netns::Resident resident;
                resident.id = id;
                if (!empty_) resident.pids = {static_cast<pid_t>(100 + id)};
                resident.workload = empty_ ? std::nullopt : workload;
                census.residents.push_back(resident);
              }
              return census;
            },
            .cgroup = [this](std::uint64_t id) -> Result<std::optional<Workload>> {
              ++cgroup_asked_;
              const auto found = cgroups_.find(id);
              if (found == cgroups_.end()) return fail(Errc::not_found, "gone");
              return found->second;
            },
            .taps =
                [this] {
                  ++tap_looks_;
                  return taps_;
                },
            .now = [this] { return now_; }};
  }
  std::string name(std::uint64_t cgroup, std::uint64_t netns) {
    const model::WorkloadRef* ref = workloads().of(cgroup, netns);
    return ref == nullptr ? std::string("-") : ref->name;
  }
  Workloads& workloads() {
    if (!workloads_) workloads_.emplace(sources());
    return *workloads_;
  }
  std::map<std::uint64_t, std::optional<Workload>> namespaces_;
  std::map<std::uint64_t, std::optional<Workload>> cgroups_;
  std::vector<HeldTap> taps_;
  bool empty_ = false;
  std::chrono::steady_clock::time_point now_{seconds(1000)};
  milliseconds census_cost_{0};
  int censuses_ = 0;
  int cgroup_asked_ = 0;
  int tap_looks_ = 0;
  std::optional<Workloads> workloads_;
};

TEST_F(WorkloadsTest, WhoWins) {
  cgroups_ = {{10, kContainer}, {11, kService}, {12, kSession}, {13, std::nullopt}};
  namespaces_ = {{20, kPod}, {21, kProcess}, {22, std::nullopt}, {23, kService}};
  EXPECT_EQ(name(10, 20), "docker-a") << "the socket's own container before the pod";
  EXPECT_EQ(name(11, 20), "pod-p") << "a runtime's own service is not what runs in the namespace";
  EXPECT_EQ(name(0, 20), "pod-p");
  EXPECT_EQ(name(11, 21), "nginx.service");
  EXPECT_EQ(name(12, 21), "iperf3");
  EXPECT_EQ(name(12, 22), "session-1.scope");
  EXPECT_EQ(name(13, 21), "iperf3");
  EXPECT_EQ(name(0, 22), "-");
  EXPECT_EQ(name(10, kInit), "docker-a") << "a container's socket keeps its owner while its packet passes the host";
  EXPECT_EQ(name(0, kInit), "-");
  EXPECT_EQ(name(1, kInit), "-") << "the root of all cgroups";
  EXPECT_EQ(name(0, 0), "-");
  EXPECT_EQ(name(99, 99), "-");
}

TEST_F(WorkloadsTest, WhatIsKnownIsNotAskedAgainAtOnce) {
  cgroups_ = {{10, kContainer}};
  namespaces_ = {{20, kPod}};
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(name(10, 20), "docker-a");
    EXPECT_EQ(name(0, 20), "pod-p");
    EXPECT_EQ(name(0, kInit), "-");
    EXPECT_EQ(name(55, 66), "-");
  }
  EXPECT_EQ(censuses_, 1);
  EXPECT_EQ(cgroup_asked_, 2);
}

TEST_F(WorkloadsTest, ANewNamespaceIsNamedWithinASecond) {
  EXPECT_EQ(name(0, 30), "-");
  namespaces_[30] = kContainer;
  now_ += milliseconds(999);
  EXPECT_EQ(name(0, 30), "-");
  now_ += milliseconds(1);
  EXPECT_EQ(name(0, 30), "docker-a");
  now_ += seconds(2);
  namespaces_[31] = kPod;
  EXPECT_EQ(name(0, 31), "pod-p") << "at once, when nobody looked for a while";
  EXPECT_EQ(censuses_, 3);
}

TEST_F(WorkloadsTest, TheInitialNamespaceAsksForNoCensus) {
  for (int i = 0; i < 100; ++i) {
    now_ += seconds(5);
    EXPECT_EQ(name(0, kInit), "-");
  }
  EXPECT_EQ(censuses_, 1);
}

TEST_F(WorkloadsTest, SlowCensusesAreRarer) {
  census_cost_ = milliseconds(500);
  for (int i = 0; i < 100; ++i) {
    now_ += milliseconds(200);
    EXPECT_EQ(name(0, 30), "-");
  }
  EXPECT_LE(censuses_, 4) << "20 s of clock, each census half a second";
}

TEST_F(WorkloadsTest, WhatVanishesKeepsItsLastName) {
  cgroups_ = {{10, kContainer}};
  namespaces_ = {{20, kPod}, {21, kPod}};
  EXPECT_EQ(name(10, kInit), "docker-a");
  EXPECT_EQ(name(0, 20), "pod-p");
  EXPECT_EQ(name(0, 21), "pod-p");
  cgroups_.clear();
  namespaces_.erase(20);
  empty_ = true;
  now_ += seconds(60);
  EXPECT_EQ(name(0, 99), "-");
  EXPECT_EQ(name(10, kInit), "docker-a");
  EXPECT_EQ(name(0, 20), "pod-p");
  EXPECT_EQ(name(0, 21), "pod-p") << "its processes have left";
}

TEST_F(WorkloadsTest, AnotherMovesIn) {
  namespaces_ = {{20, kProcess}};
  EXPECT_EQ(name(0, 20), "iperf3");
  namespaces_[20] = kContainer;
  now_ += seconds(1);
  EXPECT_EQ(name(0, 20), "docker-a");
  namespaces_[20] = std::nullopt;  // now several share it
  now_ += seconds(10);
  EXPECT_EQ(name(0, 20), "-");
}

TEST_F(WorkloadsTest, TapsAndVeths) {
  const model::WorkloadRef guest{"vm", "web", "uuid", "", "qemu"};
  namespaces_ = {{20, kPod}};
  taps_ = {{kInit, 7, "tap0", 500, guest}};
  EXPECT_EQ(*workloads().of_tap(kInit, 7), guest);
  EXPECT_EQ(workloads().of_tap(kInit, "tap0")->name, "web");
  EXPECT_EQ(workloads().of_tap(20, 7), nullptr) << "the same number elsewhere";
  EXPECT_EQ(workloads().of_tap(kInit, 0U), nullptr);
  EXPECT_EQ(tap_looks_, 1);
  const model::DeviceConfig tap = device(7, "tap0", "tun");
  EXPECT_EQ(workloads().behind(tap)->name, "web");
  model::DeviceConfig veth = device(8, "veth0", "veth");
  EXPECT_EQ(workloads().behind(veth), nullptr);
  veth.peer = model::DeviceRef{{20, "pod"}, IfIndex{2}, "eth0"};
  EXPECT_EQ(workloads().behind(veth)->name, "pod-p");
  veth.peer->netns.id = kInit;
  EXPECT_EQ(workloads().behind(veth), nullptr);
  taps_ = {{kInit, 9, "tap0", 501, {"vm", "db", "", "", "qemu"}}};
  now_ += seconds(11);
  EXPECT_EQ(workloads().of_tap(kInit, "tap0")->name, "db") << "the name was given again";
  taps_.clear();
  now_ += seconds(11);
  EXPECT_EQ(workloads().of_tap(kInit, "tap0")->name, "db");
}

TEST(GuestOfCommand, MonitorsOfVirtualMachines) {
  const auto guest = [](const std::vector<std::string>& words) {
    std::string line;
    for (const std::string& word : words) line += word + '\0';
    return guest_of_command(line);
  };
  EXPECT_EQ(guest({"/usr/bin/qemu-system-x86_64", "-name", "guest=web-db,debug-threads=on", "-S", "-uuid", "u-1"}),
            (Guest{"web-db", "u-1", "qemu"}));
  EXPECT_EQ(guest({"qemu-system-aarch64", "-name", "web,process=vm"}), (Guest{"web", "", "qemu"}));
  EXPECT_EQ(guest({"/usr/libexec/qemu-kvm", "--name", "a,,b", "--uuid", "u"}), (Guest{"a,b", "u", "qemu"}));
  EXPECT_EQ(guest({"/usr/bin/kvm", "-id", "100", "-name", "debug-threads=on,guest=vm100"}),
            (Guest{"vm100", "", "qemu"}));
  EXPECT_EQ(guest({"qemu-system-x86_64", "-uuid", "u-2"}), (Guest{"u-2", "u-2", "qemu"}));
  EXPECT_EQ(guest({"./firecracker-v1.7", "--id", "fc-1", "--api-sock", "/x"}), (Guest{"fc-1", "fc-1", "firecracker"}));
  EXPECT_EQ(guest({"cloud-hypervisor", "--api-socket=path=/run/ch/web.sock"}),
            (Guest{"web.sock", "web.sock", "cloud-hypervisor"}));
  EXPECT_EQ(guest({"qemu-system-x86_64", "-m", "1G"}), std::nullopt);
  EXPECT_EQ(guest({"qemu-system-x86_64", "-name"}), std::nullopt);
  EXPECT_EQ(guest({"qemu-img", "-name", "x"}), std::nullopt);
  EXPECT_EQ(guest({"/usr/sbin/openvpn", "--name", "x"}), std::nullopt);
  EXPECT_EQ(guest_of_command(""), std::nullopt);
}

TEST(CgroupMountsTest, WhereverTheyAre) {
  const auto of = [](std::string_view text) { return parse_cgroup_mounts(text); };
  const std::string plain = "35 25 0:30 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
  EXPECT_EQ(of(plain).unified, "/sys/fs/cgroup");
  EXPECT_FALSE(of(plain).legacy);
  const std::string hybrid =
      "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(of(hybrid).unified, "/sys/fs/cgroup/unified");
  EXPECT_TRUE(of(hybrid).legacy);
  const std::string parts =
      "50 1 0:30 /docker /part rw - cgroup2 cgroup2 rw\n51 1 0:30 / /my\\040groups rw master:1 - cgroup2 none rw\n";
  EXPECT_EQ(of(parts).unified, "/my groups") << "the whole tree rather than a part";
  EXPECT_EQ(of("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\nbroken\n41 31 - cgroup2\n").unified, "");
  EXPECT_EQ(of("").unified, "");
}

TEST(TapOfFdinfo, TheNameOfTheDevice) {
  EXPECT_EQ(tap_of_fdinfo("pos:\t0\nflags:\t0104002\nmnt_id:\t17\nino:\t5\niff:\ttap0\n"), "tap0");
  EXPECT_EQ(tap_of_fdinfo("pos:\t0\niff:\t\n"), "");
  EXPECT_EQ(tap_of_fdinfo("pos:\t0\n"), "");
  EXPECT_EQ(tap_of_fdinfo(""), "");
}

}  // namespace
}  // namespace weir::observe
