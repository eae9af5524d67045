// The configuration of devices, compared with what ip(8) and tc(8) say of the same ones.
#include "observe/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_xdp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "netns/netns.h"
#include "sys/process.h"

namespace weir::observe {
namespace {

using model::DeviceConfig;
using model::TcFilter;
using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string shell(const std::string& script) {
  const auto result = sys::run_command({"sh", "-ec", script}, std::chrono::seconds(30));
  if (!result) throw std::runtime_error(result.error().message);
  if (!result->status.success()) throw std::runtime_error(script + ": " + result->err);
  return result->out;
}

json shell_json(const std::string& script) {
  const std::string out = shell(script);
  return out.empty() ? json::array() : json::parse(out);
}

/// A topology of its own for each test, and no trace of it afterwards.
class ConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  void TearDown() override {
    for (const std::string& name : names_) static_cast<void>(netns::Netns::remove_named(name));
  }
  std::string make(const std::string& role) {
    const std::string name = "weir-nc" + std::to_string(::getpid()) + "-" + role;
    auto made = netns::Netns::create_named(name);
    if (!made) throw std::runtime_error(made.error().message);
    names_.push_back(name);
    return name;
  }
  static model::HostConfig read(const std::vector<std::string>& namespaces, const std::vector<std::string>& devices) {
    auto host = read_host({namespaces, devices});
    if (!host) throw std::runtime_error(host.error().message);
    return std::move(*host);
  }
  static const DeviceConfig& device(const model::HostConfig& host, const std::string& ns, const std::string& name) {
    const auto found = std::ranges::find_if(
        host.devices, [&](const DeviceConfig& d) { return d.ref.netns.name == ns && d.ref.name == name; });
    if (found == host.devices.end()) throw std::runtime_error("no " + ns + "/" + name);
    return *found;
  }
  std::vector<std::string> names_;
};

/// Everything that ip -d -j link says and the model has too.
void expect_like_ip(const model::HostConfig& host, const std::string& ns) {
  const json links = shell_json("ip -n " + ns + " -d -j link");
  std::size_t seen = 0;
  for (const json& link : links) {
    const auto at = std::ranges::find_if(host.devices, [&](const DeviceConfig& d) {
      return d.ref.netns.name == ns && d.ref.ifindex.value == link["ifindex"].get<std::uint32_t>();
    });
    ASSERT_NE(at, host.devices.end()) << link["ifname"];
    ++seen;
    EXPECT_EQ(at->ref.name, link["ifname"].get<std::string>());
    EXPECT_EQ(at->mtu, link["mtu"].get<std::uint32_t>()) << at->ref.name;
    EXPECT_EQ(at->num_tx_queues, link["num_tx_queues"].get<std::uint32_t>()) << at->ref.name;
    EXPECT_EQ(at->num_rx_queues, link["num_rx_queues"].get<std::uint32_t>()) << at->ref.name;
    const auto flags = link["flags"].get<std::vector<std::string>>();
    EXPECT_EQ(at->up, std::ranges::find(flags, "UP") != flags.end()) << at->ref.name;
    EXPECT_EQ(at->loopback, std::ranges::find(flags, "LOOPBACK") != flags.end()) << at->ref.name;
    const json info = link.value("linkinfo", json::object());
    EXPECT_EQ(at->link_kind, info.value("info_kind", "")) << at->ref.name;
    EXPECT_EQ(at->master_kind, info.value("info_slave_kind", "")) << at->ref.name;
  }
  EXPECT_EQ(seen, static_cast<std::size_t>(std::ranges::count_if(
                      host.devices, [&](const DeviceConfig& d) { return d.ref.netns.name == ns; })));
}

/// Kinds and handles of qdiscs, in tc's words.
std::multiset<std::string> qdiscs_of_tc(const std::string& ns, const std::string& dev) {
  std::multiset<std::string> words;
  for (const json& qdisc : shell_json("tc -n " + ns + " -j qdisc show dev " + dev)) {
    words.insert(qdisc["kind"].get<std::string>() + " " + qdisc["handle"].get<std::string>());
  }
  return words;
}

std::multiset<std::string> qdiscs_of(const DeviceConfig& device) {
  std::multiset<std::string> words;
  for (const model::Qdisc& qdisc : device.qdiscs) {
    char handle[16];
    std::snprintf(handle, sizeof handle, "%x:", qdisc.handle >> 16);
    words.insert(qdisc.kind + " " + handle);
  }
  return words;
}

TEST_F(ConfigTest, LinksAreWhatIpSays) {
  const std::string host = make("host");
  const std::string pod = make("pod");
  shell("ip -n " + host +
        " link add nic0 numtxqueues 4 numrxqueues 4 mtu 1400 type veth peer name eth0 "
        "numtxqueues 2 numrxqueues 2 netns " +
        pod);
  shell("ip -n " + host + " link add br0 type bridge; ip -n " + host + " link set nic0 master br0 up");
  shell("ip -n " + host + " tuntap add tap0 mode tap multi_queue; ip -n " + host + " link set tap0 master br0");
  shell("ip -n " + host + " link add vx0 type vxlan id 7 dev nic0 dstport 4789 remote 10.0.0.1");
  shell("ip -n " + host + " link add mv0 link nic0 type macvlan || true");
  const auto read_all = read({host, pod}, {});
  expect_like_ip(read_all, host);
  expect_like_ip(read_all, pod);
  const DeviceConfig& nic = device(read_all, host, "nic0");
  EXPECT_EQ(nic.driver, "veth");
  EXPECT_EQ(nic.bus_info, "");
  EXPECT_EQ(nic.real_tx_queues, 4U);
  EXPECT_EQ(nic.real_rx_queues, 4U);
  EXPECT_EQ(nic.max_combined_channels, 0U) << "veth counts rx and tx channels apart";
  ASSERT_TRUE(nic.peer);
  EXPECT_EQ(model::to_string(*nic.peer), pod + "/eth0");
  EXPECT_EQ(nic.unread, std::vector<std::string>{});
  ASSERT_TRUE(device(read_all, pod, "eth0").peer);
  EXPECT_EQ(*device(read_all, pod, "eth0").peer, nic.ref);
  EXPECT_EQ(device(read_all, pod, "eth0").real_tx_queues, 2U);
  EXPECT_EQ(device(read_all, host, "tap0").driver, "tun");
  EXPECT_EQ(device(read_all, host, "tap0").master, device(read_all, host, "br0").ref.ifindex.value);
  ASSERT_TRUE(device(read_all, host, "vx0").lower);
  EXPECT_EQ(device(read_all, host, "vx0").lower->name, "nic0");
  EXPECT_TRUE(device(read_all, host, "lo").loopback);
  EXPECT_FALSE(device(read_all, host, "lo").peer);
}

TEST_F(ConfigTest, ThePeerIsNamedAlsoWhenOnlyOneEndIsRead) {
  const std::string host = make("host");
  const std::string pod = make("pod");
  shell("ip -n " + host + " link add v0 type veth peer name eth0 netns " + pod);
  shell("ip -n " + host + " link add va type veth peer name vb");
  const auto one = read({pod}, {"eth0"});
  ASSERT_EQ(one.devices.size(), 1U);
  ASSERT_TRUE(one.devices[0].peer);
  EXPECT_EQ(model::to_string(*one.devices[0].peer), host + "/v0");
  const auto local = read({host}, {"va"});
  ASSERT_TRUE(local.devices.at(0).peer);
  EXPECT_EQ(model::to_string(*local.devices[0].peer), host + "/vb");
}

TEST_F(ConfigTest, APeerNobodyCanNameIsReportedNotGuessed) {
  const std::string host = make("host");
  const std::string pod = make("pod");
  shell("ip -n " + host + " link add v0 type veth peer name eth0 netns " + pod);
  const auto held = netns::Netns::open(pod);
  ASSERT_TRUE(held);
  ASSERT_TRUE(netns::Netns::remove_named(pod));
  const auto one = read({host}, {"v0"});
  EXPECT_FALSE(one.devices.at(0).peer);
  EXPECT_THAT(one.devices[0].unread, Contains(HasSubstr("without name and process")));
}

TEST_F(ConfigTest, OverlappingNamesAndIndicesStayApart) {
  std::vector<std::string> pods;
  const std::string host = make("host");
  for (const char* role : {"p1", "p2", "p3"}) {
    pods.push_back(make(role));
    shell("ip -n " + host + " link add h-" + role + " type veth peer name eth0 netns " + pods.back());
  }
  const auto all = read({"all"}, {"eth0"});
  for (std::size_t i = 0; i < pods.size(); ++i) {
    const DeviceConfig& eth = device(all, pods[i], "eth0");
    ASSERT_TRUE(eth.peer);
    EXPECT_EQ(model::to_string(*eth.peer), host + "/h-p" + std::to_string(i + 1));
  }
}

TEST_F(ConfigTest, XpsAndRpsOfAnotherNamespaceAreRead) {
  const std::string host = make("host");
  shell("ip -n " + host + " link add nic0 numtxqueues 4 numrxqueues 4 type veth peer name w0");
  const auto before = read({host}, {"nic0"});
  EXPECT_FALSE(before.devices.at(0).has_xps());
  EXPECT_EQ(before.devices[0].xps_cpus.size(), 4U);
  shell("ip netns exec " + host +
        " sh -ec 'cd /sys/class/net/nic0/queues; echo 3 > tx-2/xps_cpus; "
        "echo 1 > rx-1/rps_cpus; echo 5 > tx-0/xps_rxqs'");
  const auto after = read({host}, {"nic0"});
  const DeviceConfig& nic = after.devices.at(0);
  EXPECT_TRUE(nic.has_xps());
  EXPECT_THAT(nic.xps_cpus, ElementsAre(IsEmpty(), IsEmpty(), ElementsAre(0, 1), IsEmpty()));
  EXPECT_THAT(nic.xps_rxqs, ElementsAre(ElementsAre(0, 2), IsEmpty(), IsEmpty(), IsEmpty()));
  EXPECT_THAT(nic.rps_cpus, ElementsAre(IsEmpty(), ElementsAre(0), IsEmpty(), IsEmpty()));
  EXPECT_EQ(nic.unread, std::vector<std::string>{});
}

TEST_F(ConfigTest, FewerChannelsThanAllocatedQueues) {
  const std::string host = make("host");
  shell("ip -n " + host + " link add nic0 numtxqueues 8 numrxqueues 8 type veth peer name w0");
  shell("ip netns exec " + host + " ethtool -L nic0 rx 3 tx 3");
  const DeviceConfig nic = read({host}, {"nic0"}).devices.at(0);
  EXPECT_EQ(nic.num_tx_queues, 8U);
  EXPECT_EQ(nic.real_tx_queues, 3U);
  EXPECT_EQ(nic.real_rx_queues, 3U);
}

TEST_F(ConfigTest, QdiscsAreWhatTcSays) {
  const std::string host = make("host");
  shell("ip -n " + host + " link add nic0 numtxqueues 4 numrxqueues 4 type veth peer name w0; ip -n " + host +
        " link set nic0 up");
  const auto plain = read({host}, {});
  EXPECT_EQ(device(plain, host, "nic0").root_qdisc(), "noqueue");
  shell("tc -n " + host + " qdisc replace dev nic0 root handle 1: mq");
  for (const char* leaf : {"1", "2", "3", "4"}) {
    shell("tc -n " + host + " qdisc replace dev nic0 parent 1:" + leaf + " tbf rate 50mbit burst 32k limit 64k");
  }
  shell("tc -n " + host + " qdisc add dev nic0 clsact; tc -n " + host + " qdisc add dev w0 ingress");
  const auto after = read({host}, {});
  EXPECT_EQ(device(after, host, "nic0").root_qdisc(), "mq");
  for (const char* dev : {"nic0", "w0", "lo"}) {
    EXPECT_EQ(qdiscs_of(device(after, host, dev)), qdiscs_of_tc(host, dev)) << dev;
  }
}

TEST_F(ConfigTest, FiltersAreWhatTcSays) {
  const std::string host = make("host");
  shell("ip -n " + host + " link add nic0 type veth peer name w0");
  shell("tc -n " + host + " qdisc add dev nic0 clsact; tc -n " + host + " qdisc add dev w0 ingress");
  shell("tc -n " + host +
        " filter add dev nic0 ingress pref 5 protocol ip u32 match ip dport 9 0xffff "
        "action mirred egress redirect dev w0");
  shell("tc -n " + host + " filter add dev nic0 egress pref 7 protocol ipv6 handle 3 bpf bytecode '1,6 0 0 0,'");
  shell("tc -n " + host + " filter add dev w0 ingress pref 9 bpf bytecode '1,6 0 0 0,'");
  const auto all = read({host}, {});
  const DeviceConfig& nic = device(all, host, "nic0");
  ASSERT_EQ(nic.filters.size(), 2U);
  EXPECT_EQ(nic.filters[0].hook, TcFilter::Hook::ingress);
  EXPECT_EQ(nic.filters[0].kind, "u32");
  EXPECT_EQ(nic.filters[0].priority, 5U);
  EXPECT_EQ(nic.filters[0].protocol, 0x0800);
  EXPECT_EQ(nic.filters[0].handle, 0x80000800U);
  EXPECT_THAT(nic.filters[0].actions, ElementsAre("mirred"));
  EXPECT_EQ(nic.filters[1].hook, TcFilter::Hook::egress);
  EXPECT_EQ(nic.filters[1].kind, "bpf");
  EXPECT_EQ(nic.filters[1].priority, 7U);
  EXPECT_EQ(nic.filters[1].protocol, 0x86DD);
  EXPECT_EQ(nic.filters[1].handle, 3U);
  const DeviceConfig& wire = device(all, host, "w0");
  ASSERT_EQ(wire.filters.size(), 1U);
  EXPECT_EQ(wire.filters[0].hook, TcFilter::Hook::ingress);
  EXPECT_EQ(wire.filters[0].protocol, 0x0003) << "ETH_P_ALL";
  // The same handles and priorities in tc's words.
  const json egress = shell_json("tc -n " + host + " -j filter show dev nic0 egress");
  EXPECT_TRUE(std::ranges::any_of(egress, [](const json& filter) {
    return filter.value("pref", 0) == 7 && filter.contains("options") && filter["options"].value("handle", "") == "0x3";
  })) << egress;
}

TEST_F(ConfigTest, FiltersOfAClassfulRootAreRead) {
  const std::string host = make("host");
  shell("ip -n " + host + " link add nic0 type veth peer name w0; tc -n " + host +
        " qdisc add dev nic0 root handle 1: htb; tc -n " + host +
        " class add dev nic0 parent 1: classid 1:1 htb rate "
        "1mbit; tc -n " +
        host + " filter add dev nic0 parent 1: pref 2 protocol ip u32 match u32 0 0 flowid 1:1");
  const DeviceConfig nic = read({host}, {"nic0"}).devices.at(0);
  ASSERT_EQ(nic.filters.size(), 1U);
  EXPECT_EQ(nic.filters[0].hook, TcFilter::Hook::root);
  EXPECT_THAT(nic.unread, IsEmpty());
}

long bpf(int command, bpf_attr& attr) {
  return ::syscall(SYS_bpf, command, &attr, sizeof attr);
}

/// The smallest program: r0 = 0; exit.
sys::Fd load(bpf_prog_type type, const char* name) {
  bpf_insn code[2]{};
  code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  code[1].code = BPF_JMP | BPF_EXIT;
  bpf_attr attr{};
  attr.prog_type = type;
  attr.insns = reinterpret_cast<std::uintptr_t>(code);
  attr.insn_cnt = 2;
  attr.license = reinterpret_cast<std::uintptr_t>("GPL");
  std::strcpy(attr.prog_name, name);
  return sys::Fd(static_cast<int>(bpf(BPF_PROG_LOAD, attr)));
}

sys::Fd attach(const sys::Fd& program, std::uint32_t ifindex, std::uint32_t type) {
  bpf_attr attr{};
  attr.link_create.prog_fd = static_cast<std::uint32_t>(program.get());
  attr.link_create.target_ifindex = ifindex;
  attr.link_create.attach_type = type;
  return sys::Fd(static_cast<int>(bpf(BPF_LINK_CREATE, attr)));
}

TEST_F(ConfigTest, TcxAndXdpProgramsAreFoundInTheirNamespace) {
  const std::string host = make("host");
  shell("ip -n " + host + " link add nic0 type veth peer name w0");
  const auto ns = netns::Netns::open(host);
  ASSERT_TRUE(ns);
  const std::uint32_t ifindex = read({host}, {"nic0"}).devices.at(0).ref.ifindex.value;
  const sys::Fd tc = load(BPF_PROG_TYPE_SCHED_CLS, "weir_tcx_test");
  const sys::Fd xdp = load(BPF_PROG_TYPE_XDP, "weir_xdp_test");
  ASSERT_TRUE(tc.valid() && xdp.valid());
  sys::Fd egress;
  sys::Fd driver;
  ASSERT_TRUE(netns::run_in(*ns, [&]() -> Result<void> {
    egress = attach(tc, ifindex, 47);
    driver = attach(xdp, ifindex, BPF_XDP);
    return {};
  }));
  if (!egress.valid()) GTEST_SKIP() << "this kernel has no tcx";
  const auto all = read({host}, {});
  const DeviceConfig& nic = device(all, host, "nic0");
  ASSERT_EQ(nic.tcx.size(), 1U);
  EXPECT_EQ(nic.tcx[0].hook, TcFilter::Hook::egress);
  EXPECT_EQ(nic.tcx[0].name, "weir_tcx_test");
  EXPECT_GT(nic.tcx[0].program_id, 0U);
  EXPECT_GT(nic.xdp_program_id, 0U);
  EXPECT_THAT(device(all, host, "w0").tcx, IsEmpty());
  EXPECT_EQ(device(all, host, "w0").xdp_program_id, 0U);
}

TEST_F(ConfigTest, AfXdpSocketsAreFoundOrAdmittedToBeUnknown) {
  const std::string host = make("host");
  shell("ip -n " + host + " link add nic0 type veth peer name w0");
  const auto ns = netns::Netns::open(host);
  ASSERT_TRUE(ns);
  EXPECT_THAT(read({host}, {"nic0"}).devices.at(0).unread, IsEmpty());
  const auto socket = netns::open_socket(*ns, AF_XDP, SOCK_RAW, 0);
  if (!socket) GTEST_SKIP() << "this kernel has no AF_XDP";
  const DeviceConfig nic = read({host}, {"nic0"}).devices.at(0);
  EXPECT_FALSE(nic.has_xsk) << "it is not bound";
  const std::string diag = shell("zcat /proc/config.gz 2>/dev/null | grep -c '^CONFIG_XDP_SOCKETS_DIAG=[ym]' || true");
  if (diag == "0\n") {
    EXPECT_THAT(nic.unread, Contains(HasSubstr("af_xdp: 1 sockets")));
  }
}

TEST_F(ConfigTest, UnknownNamesSuggestTheNearest) {
  const std::string host = make("host");
  shell("ip -n " + host + " link add nic0 type veth peer name w0");
  const auto unknown = read_host({{host}, {"nic1"}});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::not_found);
  EXPECT_THAT(unknown.error().message, HasSubstr("no device \"nic1\" in namespace " + host));
  EXPECT_THAT(unknown.error().hint, HasSubstr("nic0"));
  EXPECT_FALSE(read_host({{host + "x"}, {}}));
}

TEST_F(ConfigTest, WithoutRightsTheOwnNamespaceIsReadAndTheRestAdmitted) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(9);
    const auto host = read_host();
    ::_exit(host && !host->devices.empty() && !host->unread.empty() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ConfigTest, DevicesThatComeAndGoDoNotDisturb) {
  const std::string host = make("host");
  shell("ip -n " + host + " link add stay0 type veth peer name stay1");
  auto churn = sys::Process::spawn({"sh", "-c",
                                    "while :; do ip link add go0 numtxqueues 8 type veth peer name go1; "
                                    "ip link del go0; done"},
                                   {.netns_fd = netns::Netns::open(host)->fd(), .quiet = true, .own_group = true});
  ASSERT_TRUE(churn);
  for (int i = 0; i < 100; ++i) {
    const auto read_now = read_host({{host}, {}});
    ASSERT_TRUE(read_now) << read_now.error().message;
    EXPECT_EQ(
        std::ranges::count_if(read_now->devices, [](const DeviceConfig& d) { return d.ref.name.starts_with("stay"); }),
        2);
  }
  churn->kill_all();
}

/// Counted in this process: a child that counts would see the parent's ends of its own pipes, closed or not yet.
std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

TEST_F(ConfigTest, NothingIsMountedOrLeft) {
  const std::string host = make("host");
  // Named namespaces are mounts too, and other tests make theirs meanwhile.
  const std::string count_mounts = "grep -vc ' /run/netns/' /proc/self/mountinfo";
  const std::string mounts = shell(count_mounts);
  const auto descriptors = open_descriptors();
  for (int i = 0; i < 20; ++i) read({host}, {});
  EXPECT_EQ(shell(count_mounts), mounts);
  EXPECT_EQ(open_descriptors(), descriptors);
}

TEST_F(ConfigTest, AHundredNamespacesAreReadInASecond) {
  const std::string host = make("host");
  std::string batch;
  for (int i = 0; i < 100; ++i) {
    const std::string pod = make("p" + std::to_string(i));
    batch += "link add h" + std::to_string(i) + " type veth peer name eth0 netns " + pod + "\n";
  }
  shell("ip -n " + host + " -b - <<'END'\n" + batch + "END\n");
  using Clock = std::chrono::steady_clock;
  auto best = Clock::duration::max();
  std::size_t devices = 0;
  for (int round = 0; round < 3; ++round) {
    const auto start = Clock::now();
    devices = read({"all"}, {}).devices.size();
    best = std::min(best, Clock::now() - start);
  }
  EXPECT_GE(devices, 301U);
  RecordProperty("milliseconds", static_cast<int>(best / std::chrono::milliseconds(1)));
  EXPECT_LT(best, std::chrono::seconds(1));
}

}  // namespace
}  // namespace weir::observe
