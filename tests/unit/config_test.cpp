// observe/config without a kernel: recorded machines, and netlink messages made by hand.
#include "observe/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>

#include "observe/config/links.h"
#include "observe/config/traffic_control.h"
#include "support/netlink_wire.h"

namespace weir::observe {
namespace {

using config::parse_filter;
using config::parse_link;
using config::parse_qdisc;
using model::DeviceConfig;
using test::raw;
using test::Wire;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

model::HostConfig machine(const std::string& name) {
  const auto root = sys::FileTree::open(std::string(WEIR_SOURCE_DIR) + "/tests/data/root/" + name);
  EXPECT_TRUE(root);
  auto host = read_recorded(*root);
  EXPECT_TRUE(host);
  return std::move(*host);
}

sys::NetlinkMessage message(const std::string& bytes) {
  return sys::NetlinkMessage(std::as_bytes(std::span(bytes)));
}

TEST(RecordedMachine, TwoSocketsWithOneQueueACore) {
  const auto host = machine("two-socket-64q");
  EXPECT_EQ(host.hostname, "two-socket-64q");
  EXPECT_EQ(host.online_cpus, 128U);
  ASSERT_THAT(host.numa_cpus, SizeIs(2));
  EXPECT_THAT(host.numa_cpus, Each(SizeIs(64)));
  EXPECT_THAT(host.unread, IsEmpty());
  ASSERT_THAT(host.devices, SizeIs(2));
  const DeviceConfig& nic = host.devices[1];
  EXPECT_EQ(model::to_string(nic.ref), "init/ens1f0np0");
  EXPECT_EQ(nic.driver, "mlx5_core");
  EXPECT_EQ(nic.bus_info, "0000:3b:00.0");
  EXPECT_EQ(nic.mtu, 9000U);
  EXPECT_TRUE(nic.up);
  EXPECT_FALSE(nic.loopback);
  EXPECT_EQ(nic.real_tx_queues, 64U);
  EXPECT_EQ(nic.real_rx_queues, 64U);
  for (std::uint32_t q = 0; q < 64; ++q) EXPECT_THAT(nic.xps_cpus.at(q), ElementsAre(q, q + 64));
  EXPECT_THAT(nic.xps_rxqs, Each(IsEmpty()));
  EXPECT_THAT(nic.rps_cpus, Each(IsEmpty()));
  EXPECT_THAT(nic.unread, IsEmpty());
}

TEST(RecordedMachine, OneQueueHasNoMaps) {
  const auto host = machine("one-queue-vm");
  EXPECT_EQ(host.online_cpus, 1U);
  const DeviceConfig& nic = host.devices.at(1);
  EXPECT_EQ(nic.driver, "virtio_net");
  EXPECT_EQ(nic.real_tx_queues, 1U);
  EXPECT_FALSE(nic.has_xps());
  EXPECT_THAT(nic.unread, IsEmpty());
  EXPECT_TRUE(host.devices[0].loopback);
}

TEST(RecordedMachine, EnaBeforeItsMend) {
  const auto host = machine("ena-select-queue-defect");
  EXPECT_EQ(host.kernel, "5.15.0-1056-aws");
  const DeviceConfig& nic = host.devices.at(1);
  EXPECT_EQ(nic.driver, "ena");
  EXPECT_EQ(nic.real_tx_queues, 8U);
  EXPECT_FALSE(nic.has_xps());
}

TEST(ParseLink, ReadsNumbersNestsAndPrograms) {
  ifinfomsg header{};
  header.ifi_index = 7;
  header.ifi_flags = IFF_UP;
  const Wire info = Wire().attr(IFLA_INFO_KIND, std::string("veth\0", 5));
  const Wire xdp = Wire().attr(IFLA_XDP_ATTACHED, raw<std::uint8_t>(4)).attr(IFLA_XDP_SKB_PROG_ID, raw(9U));
  const auto link = parse_link(message(Wire()
                                           .attr(IFLA_IFNAME, std::string("nic0\0", 5))
                                           .attr(IFLA_NUM_TX_QUEUES, raw(64U))
                                           .attr(IFLA_LINK, raw(3U))
                                           .attr(IFLA_LINK_NETNSID, raw<std::int32_t>(2))
                                           .attr(IFLA_LINKINFO | NLA_F_NESTED, info.text())
                                           .attr(IFLA_XDP, xdp.text())
                                           .message(RTM_NEWLINK, header)));
  ASSERT_TRUE(link);
  EXPECT_EQ(link->device.ref.name, "nic0");
  EXPECT_EQ(link->device.ref.ifindex.value, 7U);
  EXPECT_EQ(link->device.link_kind, "veth");
  EXPECT_EQ(link->device.num_tx_queues, 64U);
  EXPECT_EQ(link->device.xdp_program_id, 9U);
  EXPECT_EQ(link->iflink, 3U);
  EXPECT_EQ(link->iflink_netnsid, 2);
  EXPECT_TRUE(link->device.up);
}

TEST(ParseLink, VxlanNamesItsLowerDeviceInItsOwnWords) {
  const Wire data = Wire().attr(IFLA_VXLAN_LINK, raw(4U));
  const Wire info = Wire().attr(IFLA_INFO_KIND, "vxlan").attr(IFLA_INFO_DATA, data.text());
  const auto link = parse_link(message(Wire().attr(IFLA_LINKINFO, info.text()).message(RTM_NEWLINK, ifinfomsg{})));
  ASSERT_TRUE(link);
  EXPECT_EQ(link->iflink, 4U);
}

TEST(ParseLink, TornMessagesAreErrors) {
  EXPECT_FALSE(parse_link(message("")));
  EXPECT_FALSE(parse_link(message("abc")));
  const std::string whole = Wire().attr(IFLA_MTU, raw(1U)).message(RTM_NEWLINK, ifinfomsg{});
  EXPECT_TRUE(parse_link(message(whole)));
  EXPECT_FALSE(parse_link(message(whole.substr(0, whole.size() - 2))));
  EXPECT_FALSE(parse_link(message(Wire().attr(IFLA_MTU, "abc").message(RTM_NEWLINK, ifinfomsg{}))));
}

tc_mqprio_qopt three_classes() {
  tc_mqprio_qopt options{};
  options.num_tc = 3;
  for (std::uint8_t prio = 0; prio < 16; ++prio) options.prio_tc_map[prio] = prio % 3;
  for (std::uint16_t i = 0; i < 3; ++i) {
    options.offset[i] = static_cast<std::uint16_t>(2 * i);
    options.count[i] = 2;
  }
  return options;
}

TEST(ParseQdisc, MqprioGivesTheTrafficClasses) {
  tcmsg header{};
  header.tcm_ifindex = 2;
  header.tcm_handle = 0x80010000;
  header.tcm_parent = TC_H_ROOT;
  const auto qdisc = parse_qdisc(message(Wire()
                                             .attr(TCA_KIND, std::string("mqprio\0", 7))
                                             .attr(TCA_OPTIONS, raw(three_classes()) + "after")
                                             .message(RTM_NEWQDISC, header)));
  ASSERT_TRUE(qdisc);
  EXPECT_EQ(qdisc->qdisc, (model::Qdisc{"mqprio", 0x80010000, TC_H_ROOT}));
  EXPECT_THAT(qdisc->traffic_classes,
              ElementsAre(model::TrafficClass{0, 2}, model::TrafficClass{2, 2}, model::TrafficClass{4, 2}));
  ASSERT_THAT(qdisc->prio_to_class, SizeIs(16));
  EXPECT_EQ(qdisc->prio_to_class[5], 2);
}

TEST(ParseQdisc, TaprioGivesThemToo) {
  const Wire options = Wire().attr(TCA_TAPRIO_ATTR_PRIOMAP, raw(three_classes()));
  const auto qdisc = parse_qdisc(
      message(Wire().attr(TCA_KIND, "taprio").attr(TCA_OPTIONS, options.text()).message(RTM_NEWQDISC, tcmsg{})));
  ASSERT_TRUE(qdisc);
  EXPECT_THAT(qdisc->traffic_classes, SizeIs(3));
}

TEST(ParseQdisc, MoreClassesThanThereCanBeAreCut) {
  tc_mqprio_qopt options = three_classes();
  options.num_tc = 255;
  const auto qdisc = parse_qdisc(
      message(Wire().attr(TCA_KIND, "mqprio").attr(TCA_OPTIONS, raw(options)).message(RTM_NEWQDISC, tcmsg{})));
  ASSERT_TRUE(qdisc);
  EXPECT_THAT(qdisc->traffic_classes, SizeIs(TC_QOPT_MAX_QUEUE));
}

TEST(ParseFilter, BpfWithNameTagAndId) {
  tcmsg header{};
  header.tcm_handle = 1;
  header.tcm_info = TC_H_MAKE(49152U << 16, htons(ETH_P_ALL));
  const Wire options = Wire()
                           .attr(TCA_BPF_NAME, std::string("weir.o:[tc]\0", 12))
                           .attr(TCA_BPF_TAG, std::string("\x01\x23\x45\x67\x89\xab\xcd\xef", 8))
                           .attr(TCA_BPF_ID, raw(42U));
  const auto filter = parse_filter(
      message(Wire().attr(TCA_KIND, "bpf").attr(TCA_OPTIONS, options.text()).message(RTM_NEWTFILTER, header)),
      model::TcFilter::Hook::egress);
  ASSERT_TRUE(filter && *filter);
  EXPECT_EQ((*filter)->priority, 49152U);
  EXPECT_EQ((*filter)->protocol, ETH_P_ALL);
  EXPECT_EQ((*filter)->name, "weir.o:[tc]");
  EXPECT_EQ((*filter)->program_tag, "0123456789abcdef");
  EXPECT_EQ((*filter)->program_id, 42U);
}

TEST(ParseFilter, ActionsInTheirOrder) {
  const Wire first = Wire().attr(TCA_ACT_KIND, std::string("skbedit\0", 8));
  const Wire second = Wire().attr(TCA_ACT_KIND, std::string("mirred\0", 7));
  const Wire actions = Wire().attr(1, first.text()).attr(2, second.text());
  const Wire options = Wire().attr(TCA_MATCHALL_ACT, actions.text());
  const auto filter = parse_filter(
      message(Wire().attr(TCA_KIND, "matchall").attr(TCA_OPTIONS, options.text()).message(RTM_NEWTFILTER, tcmsg{})),
      model::TcFilter::Hook::ingress);
  ASSERT_TRUE(filter && *filter);
  EXPECT_THAT((*filter)->actions, ElementsAre("skbedit", "mirred"));
}

TEST(ParseFilter, HeadsAndHashTablesAreNoFilters) {
  EXPECT_EQ(*parse_filter(message(Wire().attr(TCA_KIND, "bpf").message(RTM_NEWTFILTER, tcmsg{})),
                          model::TcFilter::Hook::ingress),
            std::nullopt);
  tcmsg table{};
  table.tcm_handle = 0x80000000;
  const Wire options = Wire().attr(TCA_U32_DIVISOR, raw(1U));
  EXPECT_EQ(*parse_filter(
                message(Wire().attr(TCA_KIND, "u32").attr(TCA_OPTIONS, options.text()).message(RTM_NEWTFILTER, table)),
                model::TcFilter::Hook::ingress),
            std::nullopt);
}

}  // namespace
}  // namespace weir::observe
