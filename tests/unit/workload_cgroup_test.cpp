// Whose a cgroup path is: paths as every runtime makes them, and ones that must not be mistaken for theirs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/workload.h"

namespace weir::netns {
namespace {

using Kind = Workload::Kind;

const std::string kA = "3e74abfd0f3a4d8c5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5";
const std::string kB = "b0c1d2e3f405162738495a6b7c8d9eafb0c1d2e3f405162738495a6b7c8d9eaf";
const std::string kShortA = "3e74abfd0f3a";
const std::string kShortB = "b0c1d2e3f405";
const std::string kUid = "2c48913c-b29f-11e7-9350-020968147796";
const std::string kUidSlice = "2c48913c_b29f_11e7_9350_020968147796";
const std::string kStatic = "32e6a2a1b9dd6aa2c6fd5b1e4ec2f8b1";

struct PathCase {
  std::string path;
  Workload expected;  ///< an empty name: nobody
};

Workload container(const std::string& name, const std::string& id, const std::string& runtime,
                   const std::string& pod = "") {
  return {Kind::container, name, id, pod, runtime};
}
Workload service(const std::string& name, const std::string& id = "") {
  return {Kind::service, name, id.empty() ? name : id, "", "systemd"};
}
Workload pod(const std::string& uid) {
  return {Kind::pod, "pod-" + uid, uid, uid, ""};
}
Workload vm(const std::string& name, const std::string& id, const std::string& runtime) {
  return {Kind::vm, name, id, "", runtime};
}
const Workload kNobody{Kind::process, "", "", "", ""};

void expect_all(const std::vector<PathCase>& cases) {
  for (const PathCase& one : cases) {
    const auto workload = workload_of_cgroup(one.path);
    if (one.expected.name.empty()) {
      EXPECT_FALSE(workload.has_value()) << one.path << " is taken for " << workload->name;
      continue;
    }
    ASSERT_TRUE(workload.has_value()) << one.path;
    EXPECT_STREQ(to_string(workload->kind), to_string(one.expected.kind)) << one.path;
    EXPECT_EQ(workload->name, one.expected.name) << one.path;
    EXPECT_EQ(workload->id, one.expected.id) << one.path;
    EXPECT_EQ(workload->pod, one.expected.pod) << one.path;
    EXPECT_EQ(workload->runtime, one.expected.runtime) << one.path;
  }
}

TEST(WorkloadOfCgroup, Docker) {
  const Workload a = container("docker-" + kShortA, kA, "docker");
  const Workload b = container("docker-" + kShortB, kB, "docker");
  expect_all({
      {"/system.slice/docker-" + kA + ".scope", a},
      {"/docker/" + kA, a},
      {"/system.slice:docker:" + kA, a},  // runc told of a slice, without systemd
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + kA + ".scope", a},  // rootless
      {"/my.slice/docker-" + kA + ".scope/init", a},
      {"/../../docker-" + kA + ".scope", a},   // as another cgroup namespace shows it
      {"/docker/" + kA + "/docker/" + kB, b},  // docker in docker
      {"/system.slice/docker-" + kA + ".scope/docker/" + kB, b},
      {"/docker/" + kA + "/system.slice/nginx.service", a},  // systemd in a container
      {"/docker/" + kA + "/init.scope", a},
      {"/actions_job/" + kA, container("container-" + kShortA, kA, "")},
      {"/ecs/0f9de17a6465404e8b2b2356dc13c2f8/" + kA, container("container-" + kShortA, kA, "")},
  });
}

TEST(WorkloadOfCgroup, Containerd) {
  expect_all({
      {"/system.slice/nerdctl-" + kA + ".scope", container("nerdctl-" + kShortA, kA, "containerd")},
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-" + kA + ".scope",
       container("nerdctl-" + kShortA, kA, "containerd")},
      {"/default/" + kA, container("container-" + kShortA, kA, "")},
      {"/k8s.io/" + kA, container("container-" + kShortA, kA, "")},
      {"/system.slice/containerd.service/kubepods-besteffort-pod" + kUidSlice + ".slice:cri-containerd:" + kA,
       container("cri-containerd-" + kShortA, kA, "containerd", kUid)},
      {"/kubepods-pod" + kUidSlice + ".slice:cri-containerd:" + kA,
       container("cri-containerd-" + kShortA, kA, "containerd", kUid)},
      {"/kubepods/burstable/pod" + kUid + "/cri-containerd:" + kA,
       container("cri-containerd-" + kShortA, kA, "containerd", kUid)},
  });
}

TEST(WorkloadOfCgroup, Podman) {
  const Workload a = container("libpod-" + kShortA, kA, "podman");
  expect_all({
      {"/machine.slice/libpod-" + kA + ".scope", a},
      {"/machine.slice/libpod-" + kA + ".scope/container", a},
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + kA + ".scope/container", a},  // rootless
      {"/libpod_parent/libpod-" + kA, a},
      {"/libpod_parent/" + kA, a},
      {"/system.slice/web.service/libpod-payload-" + kA, a},  // quadlet, --cgroups=split
      {"/machine.slice/machine-libpod_pod_" + kB + ".slice/libpod-" + kA + ".scope",
       container("libpod-" + kShortA, kA, "podman", kB)},
      {"/machine.slice/machine-libpod_pod_" + kB + ".slice", pod(kB)},
      {"/machine.slice/libpod-conmon-" + kA + ".scope", kNobody},
      {"/libpod_parent/libpod-conmon-" + kA, kNobody},
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-" + kA + ".scope",
       service("user@1000.service", "user@1000.service")},
      {"/system.slice/web.service/supervisor", service("web.service")},
  });
}

TEST(WorkloadOfCgroup, Kubernetes) {
  const std::string systemd = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kUidSlice + ".slice";
  const std::string guaranteed = "/kubepods.slice/kubepods-pod" + kUidSlice + ".slice";
  const Workload containerd = container("cri-containerd-" + kShortA, kA, "containerd", kUid);
  const Workload crio = container("crio-" + kShortA, kA, "cri-o", kUid);
  expect_all({
      {systemd + "/cri-containerd-" + kA + ".scope", containerd},
      {guaranteed + "/cri-containerd-" + kA + ".scope", containerd},
      {systemd + "/crio-" + kA + ".scope", crio},
      {systemd + "/crio-" + kA + ".scope/container", crio},
      {systemd + "/crio-conmon-" + kA + ".scope", pod(kUid)},
      {systemd + "/docker-" + kA + ".scope", container("docker-" + kShortA, kA, "docker", kUid)},
      {systemd, pod(kUid)},
      {"/kubepods/besteffort/pod" + kUid + "/" + kA, container("container-" + kShortA, kA, "", kUid)},
      {"/kubepods/pod" + kUid + "/" + kA, container("container-" + kShortA, kA, "", kUid)},
      {"/kubepods/burstable/pod" + kUid + "/crio-" + kA, crio},
      {"/kubepods/burstable/pod" + kUid, pod(kUid)},
      {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kStatic + ".slice/cri-containerd-" + kA +
           ".scope",
       container("cri-containerd-" + kShortA, kA, "containerd", kStatic)},
      {"/kubepods.slice/kubepods-burstable.slice", kNobody},
      // kind: a node is a container of docker
      {"/docker/" + kB +
           "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
           "kubelet-kubepods-besteffort-pod" +
           kUidSlice + ".slice/cri-containerd-" + kA + ".scope",
       containerd},
      {"/docker/" + kB + "/kubelet/kubepods/besteffort/pod" + kUid + "/" + kA,
       container("container-" + kShortA, kA, "", kUid)},
      {"/system.slice/docker-" + kB + ".scope/system.slice/containerd.service",
       container("docker-" + kShortB, kB, "docker")},
      // docker in a pod is part of the pod
      {"/kubepods/besteffort/pod" + kUid + "/" + kB + "/docker/" + kA,
       container("docker-" + kShortA, kA, "docker", kUid)},
  });
}

TEST(WorkloadOfCgroup, LxcAndNspawn) {
  expect_all({
      {"/lxc/web", container("lxc-web", "web", "lxc")},
      {"/lxc/100/ns/system.slice/nginx.service", container("lxc-100", "100", "lxc")},  // Proxmox VE
      {"/lxc.payload.web-1", container("lxc-web-1", "web-1", "lxc")},
      {"/lxc.payload.web/system.slice/ssh.service", container("lxc-web", "web", "lxc")},
      {"/lxc.payload/web/init.scope", container("lxc-web", "web", "lxc")},
      {"/lxc.payload.web/system.slice/docker-" + kA + ".scope", container("docker-" + kShortA, kA, "docker")},
      {"/lxc.monitor.web", kNobody},
      {"/lxc.monitor/web", kNobody},
      {"/lxc.pivot", kNobody},
      {"/machine.slice/machine-web.scope", container("web", "web", "systemd-nspawn")},
      {"/machine.slice/machine-debian\\x2dbookworm.scope/payload/system.slice/cron.service",
       container("debian-bookworm", "debian-bookworm", "systemd-nspawn")},
      {"/machine.slice/systemd-nspawn@my\\x2dct.service/payload", container("my-ct", "my-ct", "systemd-nspawn")},
      {"/machine.slice/machine-lxc\\x2d4711\\x2dweb\\x2d1.scope", container("lxc-web-1", "4711-web-1", "libvirt")},
  });
}

TEST(WorkloadOfCgroup, VirtualMachines) {
  expect_all({
      {"/machine.slice/machine-qemu\\x2d3\\x2dweb\\x2ddb.scope/libvirt/emulator", vm("web-db", "3-web-db", "libvirt")},
      {"/machine.slice/machine-qemu\\x2d12\\x2dubuntu22.04.scope", vm("ubuntu22.04", "12-ubuntu22.04", "libvirt")},
      {"/machine/qemu-1-web.libvirt-qemu/vcpu0", vm("web", "1-web", "libvirt")},
      {"/libvirt/qemu/web", vm("web", "web", "libvirt")},
      {"/qemu.slice/100.scope", vm("vm-100", "100", "qemu")},
      {"/firecracker/551e7604-e35c-42b3-b825-416853441234",
       vm("551e7604-e35c-42b3-b825-416853441234", "551e7604-e35c-42b3-b825-416853441234", "firecracker")},
      {"/machine.slice/machine-qemu\\x2dweb.scope", container("qemu-web", "qemu-web", "systemd-nspawn")},
  });
}

TEST(WorkloadOfCgroup, Units) {
  expect_all({
      {"/system.slice/nginx.service", service("nginx.service")},
      {"/system.slice/system-postgresql.slice/postgresql@15-main.service", service("postgresql@15-main.service")},
      {"/system.slice/docker.service", service("docker.service")},
      {"/system.slice/foo\\x2dbar.service/worker", service("foo\\x2dbar.service")},
      {"/system.slice/run-r0c1d.scope", service("run-r0c1d.scope")},
      {"/user.slice/user-1000.slice/user@1000.service/app.slice/app-foo.service",
       service("app-foo.service", "user@1000.service/app-foo.service")},
      {"/user.slice/user-1000.slice/user@1000.service/init.scope", service("user@1000.service")},
      {"/user.slice/user-0.slice/session-17.scope",
       {Kind::session, "session-17.scope", "session-17.scope", "", "systemd"}},
  });
}

TEST(WorkloadOfCgroup, NobodysAndWrongOnes) {
  std::string upper = kA;
  upper[0] = 'E';
  expect_all({
      {"/", kNobody},
      {"", kNobody},
      {"//", kNobody},
      {"/init.scope", kNobody},
      {"/system.slice", kNobody},
      {"/user.slice/user-1000.slice", kNobody},
      {"/docker", kNobody},
      {"/docker/" + kA.substr(1), kNobody},
      {"/docker/" + kA + "0", kNobody},
      {"/docker/" + upper, kNobody},
      {"/docker/buildkit", kNobody},
      {"/system.slice/docker-" + kA + ".mount", kNobody},
      {"/lxc", kNobody},
      {"/lxc.payload.", kNobody},
      {"/machine.slice/machine-.scope", service("machine-.scope")},
      {"/machine.slice/machine-qemu\\x2d1\\x2d.scope", container("qemu-1-", "qemu-1-", "systemd-nspawn")},
      {"/kubepods/besteffort/podcast", kNobody},
      {"/kubepods/pod" + kUid + "x", kNobody},
      {"/kubepods/pod-" + kUid.substr(1), kNobody},
      {"::::", kNobody},
      {"/a:" + kA, container("a-" + kShortA, kA, "")},
      {"/my.slice/newruntime-" + kA + ".scope", container("newruntime-" + kShortA, kA, "")},
      {"/my.slice/-" + kA + ".scope", service("-" + kA + ".scope")},
      {"/bad\\x", kNobody},
      {"/bad\\xzz.mount", kNobody},
      {"/process_api/08a8b8621a1979f8857ef2736003630a", kNobody},
  });
}

TEST(WorkloadOfCgroupFile, TheLineThatSaysMostCounts) {
  const std::string hybrid =
      "12:pids:/docker/" + kA + "\n1:name=systemd:/docker/" + kA + "\n0::/system.slice/containerd.service\n";
  EXPECT_EQ(workload_of_cgroup_file(hybrid)->name, "docker-" + kShortA);
  EXPECT_EQ(workload_of_cgroup_file("9:name=systemd:/\n0::/system.slice/ssh.service\n")->name, "ssh.service");
  EXPECT_EQ(
      workload_of_cgroup_file("4:memory:/kubepods/pod" + kUid + "\n3:cpu:/kubepods/pod" + kUid + "/" + kA + "\n")->id,
      kA);
  EXPECT_FALSE(workload_of_cgroup_file("0::/\n"));
  EXPECT_FALSE(workload_of_cgroup_file("0:\nno colons\n"));
  EXPECT_FALSE(workload_of_cgroup_file(""));
}

TEST(OwnerOfShared, ThePodOrTheOnlyOne) {
  const Workload a = container("crio-a", kA, "cri-o", kUid);
  const Workload b = container("crio-b", kB, "cri-o", kUid);
  const Workload alone = container("docker-a", kA, "docker");
  const Workload other = container("docker-b", kB, "docker");
  const Workload process{Kind::process, "tcpdump", "17", "", ""};
  const auto owner = [](const std::vector<Workload>& residents) { return owner_of_shared(residents); };
  EXPECT_EQ(owner({a, b}), pod(kUid));
  EXPECT_EQ(owner({a}), pod(kUid)) << "a pod's name does not depend on how many of its containers have started";
  EXPECT_EQ(owner({alone, alone}), alone);
  EXPECT_EQ(owner({alone, process, service("ssh.service")}), alone) << "visitors take nothing away";
  EXPECT_EQ(owner({alone, other}), std::nullopt);
  EXPECT_EQ(owner({a, other}), std::nullopt);
  EXPECT_EQ(owner({service("a.service"), service("a.service"), process}), service("a.service"));
  EXPECT_EQ(owner({service("a.service"), service("b.service")}), std::nullopt);
  EXPECT_EQ(owner({process}), std::nullopt);
  EXPECT_EQ(owner({}), std::nullopt);
}

}  // namespace
}  // namespace weir::netns
