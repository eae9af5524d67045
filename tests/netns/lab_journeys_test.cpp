// The small networks for following packets do what they claim, as the kernel's own counters and the usual tools see it:
// the healthy part answers a ping, and what is to be lost is lost, all the time, where and why the lab's file says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "support/lab.h"
#include "support/leaks.h"
#include "support/process.h"

namespace weir {
namespace {

using lab::ExpectedJourney;
using lab::Family;
using test::eventually;
using test::TrafficLab;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const ExpectedJourney& journey(TrafficLab& lab, const std::string& name) {
  const auto& all = lab.lab().blueprint().journeys;
  const auto found = std::ranges::find(all, name, &ExpectedJourney::name);
  EXPECT_NE(found, all.end()) << name;
  return *found;
}

test::Outcome in(const std::string& netns, std::vector<std::string> command) {
  command.insert(command.begin(), {"ip", "netns", "exec", netns});
  return test::run(std::move(command));
}

/// Three pings, all answered.
void expect_ping(const std::string& netns, const std::string& address, std::vector<std::string> options = {}) {
  options.insert(options.begin(), {"ping", "-c", "3", "-i", "0.05", "-W", "2"});
  options.push_back(address);
  const test::Outcome ping = in(netns, options);
  EXPECT_EQ(ping.code, 0) << ping.out << ping.err;
  EXPECT_THAT(ping.out, HasSubstr("3 received"));
}

/// A counter of the namespace's protocols by nstat(8)'s name ("IpInNoRoutes", "TcpExtListenDrops", "Ip6InNoRoutes").
std::uint64_t counter(const std::string& netns, const std::string& name) {
  const test::Outcome shown = in(netns, {"nstat", "-asjz"});
  const auto document = nlohmann::json::parse(shown.out, nullptr, false);
  EXPECT_TRUE(document.is_object() && document["kernel"].contains(name)) << name << shown.out << shown.err;
  return document.is_object() ? document["kernel"].value(name, std::uint64_t{0}) : 0;
}

/// It goes up by `more` from now on.
void expect_growing(const std::string& netns, const std::string& name, std::uint64_t more = 3) {
  const std::uint64_t before = counter(netns, name);
  EXPECT_TRUE(eventually([&] { return counter(netns, name) >= before + more; })) << name << " stays at " << before;
}

/// Packets that the rule with this comment has seen; 0 when there is none.
std::uint64_t rule_packets(const std::string& netns, const std::string& comment) {
  const test::Outcome listed = in(netns, {"nft", "-j", "list", "ruleset"});
  const auto document = nlohmann::json::parse(listed.out);
  for (const auto& object : document["nftables"]) {
    if (!object.contains("rule") || object["rule"].value("comment", "") != comment) continue;
    for (const auto& statement : object["rule"]["expr"]) {
      if (statement.contains("counter")) return statement["counter"]["packets"];
    }
  }
  return 0;
}

void expect_rule_hit(const std::string& netns, const std::string& comment) {
  const std::uint64_t before = rule_packets(netns, comment);
  EXPECT_TRUE(eventually([&] { return rule_packets(netns, comment) >= before + 3; })) << comment;
}

std::uint64_t received(const std::string& ref) {
  const auto slash = ref.find('/');
  const test::Outcome shown =
      test::run({"ip", "-n", ref.substr(0, slash), "-s", "-j", "link", "show", "dev", ref.substr(slash + 1)});
  return nlohmann::json::parse(shown.out)[0]["stats64"]["rx"]["packets"];
}

std::uint64_t sender_packets(TrafficLab& lab, const std::string& label) {
  const auto report = lab.lab().report();
  for (const lab::SenderReport& sender : report->senders) {
    if (sender.label == label && sender.kind != lab::TrafficKind::udp_stalled) return sender.packets;
  }
  ADD_FAILURE() << "no sender " << label;
  return 0;
}

/// What is in every such network: pings and the lab's own requests are answered, and each journey that the lab's
/// traffic makes is under way.
void expect_served(TrafficLab& lab) {
  ASSERT_TRUE(lab.ok()) << lab.why();
  const ExpectedJourney& ping = journey(lab, "ping");
  expect_ping(ping.from, ping.destination);
  const std::uint64_t echoed = sender_packets(lab, "echo");
  EXPECT_TRUE(eventually([&] { return sender_packets(lab, "echo") >= echoed + 5; }));
  const std::uint64_t connected = sender_packets(lab, "connects");
  EXPECT_TRUE(eventually([&] { return sender_packets(lab, "connects") >= connected + 2; }));
  for (const ExpectedJourney& each : lab.lab().blueprint().journeys) {
    if (!each.traffic) continue;
    const std::uint64_t before = received(each.path.back());
    EXPECT_TRUE(eventually([&] { return received(each.path.back()) > before; })) << each.name;
  }
  EXPECT_TRUE(lab.lab().traffic_alive());
}

class Journeys : public testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    before_.emplace(test::HostSnapshot::take());
  }
  /// Takes the lab down; nothing of it is left.
  void TearDown() override {
    if (!lab_) return;
    EXPECT_TRUE(!lab_->ok() || lab_->lab().down());
    lab_.reset();
    EXPECT_THAT(before_->leftovers(), IsEmpty());
  }
  TrafficLab& start(const std::string& scenario) {
    lab::Options options;
    options.family = GetParam();
    return lab_.emplace(scenario, options);
  }
  static bool v4() { return GetParam() == Family::v4; }

 private:
  std::optional<test::HostSnapshot> before_;
  std::optional<TrafficLab> lab_;
};

INSTANTIATE_TEST_SUITE_P(Lab, Journeys, testing::Values(Family::v4, Family::v6),
                         [](const auto& param) { return param.param == Family::v4 ? "v4" : "v6"; });

TEST_P(Journeys, NatRewritesBothAddresses) {
  TrafficLab& lab = start("nat");
  expect_served(lab);
  const std::string& host = lab.netns("host");
  expect_rule_hit(host, "weir-lab vip");
  expect_rule_hit(host, "weir-lab masquerade");
  const test::Outcome entries = in(host, {"conntrack", "-L", "-f", v4() ? "ipv4" : "ipv6", "-p", "udp"});
  const ExpectedJourney& echo = journey(lab, "echo");
  EXPECT_THAT(entries.out, HasSubstr("src=" + echo.source + " dst=" + echo.destination));
  EXPECT_THAT(entries.out, HasSubstr("src=" + echo.destination_at_end + " dst=" + echo.source_at_end));
  // The server knows no way to the pod: without the rewritten source nothing would come back.
  EXPECT_NE(test::run({"ip", "-n", lab.netns("server"), "route", "get", echo.source}).code, 0);
}

TEST_P(Journeys, NatRewritesAPort) {
  TrafficLab& lab = start("nat");
  ASSERT_TRUE(lab.ok()) << lab.why();
  const ExpectedJourney& port = journey(lab, "port");
  const std::string script =
      "import socket\n"
      "s = socket.socket(socket.AF_INET6 if ':' in '" +
      port.destination +
      "' else socket.AF_INET, socket.SOCK_DGRAM)\n"
      "s.settimeout(5)\n"
      "s.connect(('" +
      port.destination + "', " + std::to_string(port.port) +
      "))\n"
      "s.send(b'weir')\n"
      "print(s.recv(100).decode())\n";
  const test::Outcome asked = in(port.from, {"python3", "-c", script});
  EXPECT_EQ(asked.out, "weir\n") << asked.err;
  EXPECT_EQ(rule_packets(lab.netns("host"), "weir-lab vip port"), 1U);
}

TEST_P(Journeys, VethChainIsRoutedThreeTimes) {
  TrafficLab& lab = start("veth-chain");
  expect_served(lab);
  for (const char* router : {"r1", "r2", "r3"}) {
    expect_growing(lab.netns(router), v4() ? "IpForwDatagrams" : "Ip6OutForwDatagrams");
  }
}

TEST_P(Journeys, BridgeRoutesNothing) {
  TrafficLab& lab = start("bridge");
  expect_served(lab);
  expect_ping(lab.netns("pod"), journey(lab, "uplink").destination);
  EXPECT_EQ(counter(lab.netns("host"), v4() ? "IpForwDatagrams" : "Ip6OutForwDatagrams"), 0U);
  if (!v4()) return;  // the bridge itself takes part in multicast
  EXPECT_EQ(counter(lab.netns("host"), "IpInReceives"), 0U);
}

TEST_P(Journeys, VxlanCarriesRewrittenPackets) {
  TrafficLab& lab = start("vxlan");
  expect_served(lab);
  expect_rule_hit(lab.netns("host"), "weir-lab vip");
  const std::uint64_t before = received(lab.netns("host2") + "/vx0");
  EXPECT_TRUE(eventually([&] { return received(lab.netns("host2") + "/vx0") >= before + 5; }));
  const ExpectedJourney& echo = journey(lab, "echo");
  const test::Outcome entries = in(lab.netns("host"), {"conntrack", "-L", "-f", v4() ? "ipv4" : "ipv6", "-p", "udp"});
  EXPECT_THAT(entries.out, HasSubstr("src=" + echo.destination_at_end + " dst=" + echo.source));
}

TEST_P(Journeys, NftDropsOnePort) {
  TrafficLab& lab = start("nft-drop");
  expect_served(lab);
  expect_rule_hit(lab.netns("host"), "weir-lab drop");
  expect_rule_hit(lab.netns("host"), "weir-lab jump");
}

TEST_P(Journeys, RpFilterDropsTheSecondAddress) {
  if (!v4()) return;  // IPv6 has no reverse path filter, so the scenario refuses it
  TrafficLab& lab = start("rp-filter");
  expect_served(lab);
  expect_growing(lab.netns("host"), "TcpExtIPReversePathFilter");
}

TEST_P(Journeys, NoRouteRefusesFourDestinations) {
  TrafficLab& lab = start("no-route");
  expect_served(lab);
  expect_growing(lab.netns("host"), v4() ? "IpExtInNoRoutes" : "Ip6InNoRoutes");
  const std::string& pod = lab.netns("pod");
  const std::vector<std::pair<const char*, const char*>> answers =
      v4() ? std::vector<std::pair<const char*, const char*>>{{"no-route", "Net Unreachable"},
                                                              {"unreachable", "Host Unreachable"},
                                                              {"prohibit", "Packet filtered"}}
           : std::vector<std::pair<const char*, const char*>>{
                 {"no-route", "No route"}, {"unreachable", "No route"}, {"prohibit", "Administratively prohibited"}};
  // The kernel limits how many such messages a host sends, and the lab's own traffic has used its share.
  lab.lab().stop_traffic();
  for (const auto& [name, said] : answers) {
    std::string out;
    EXPECT_TRUE(eventually([&] {
      out = in(pod, {"ping", "-c", "1", "-W", "1", journey(lab, name).destination}).out;
      return out.find(said) != std::string::npos;
    })) << name
        << ": " << out;
  }
  EXPECT_THAT(in(pod, {"ping", "-c", "1", "-W", "1", journey(lab, "blackhole").destination}).out,
              HasSubstr("100% packet loss"));
}

TEST_P(Journeys, MtuIsToldToTheSender) {
  TrafficLab& lab = start("mtu");
  expect_served(lab);
  expect_growing(lab.netns("host"), v4() ? "IpFragFails" : "Ip6InTooBigErrors");
  expect_growing(lab.netns("pod"), v4() ? "IcmpInDestUnreachs" : "Icmp6InPktTooBigs");
  const std::string& server = journey(lab, "ping").destination;
  const test::Outcome wide = in(lab.netns("pod"), {"ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", server});
  EXPECT_THAT(wide.out + wide.err, HasSubstr("1300"));
  expect_ping(lab.netns("pod"), server, {"-M", "do", "-s", "1200"});
}

TEST_P(Journeys, MtuBlackholeTellsNobody) {
  TrafficLab& lab = start("mtu-blackhole");
  expect_served(lab);
  expect_growing(lab.netns("host"), v4() ? "IpFragFails" : "Ip6InTooBigErrors");
  expect_rule_hit(lab.netns("host"), "weir-lab blackhole");
  EXPECT_EQ(counter(lab.netns("pod"), v4() ? "IcmpInDestUnreachs" : "Icmp6InPktTooBigs"), 0U);
}

TEST_P(Journeys, RcvbufOverflows) {
  TrafficLab& lab = start("rcvbuf");
  expect_served(lab);
  expect_growing(lab.netns("server"), v4() ? "UdpRcvbufErrors" : "Udp6RcvbufErrors");
}

TEST_P(Journeys, ListenQueueOverflows) {
  TrafficLab& lab = start("listen-overflow");
  expect_served(lab);
  expect_growing(lab.netns("server"), "TcpExtListenOverflows");
  expect_growing(lab.netns("server"), "TcpExtListenDrops");
}

/// Without traffic too, and at once.
TEST_P(Journeys, AnswerAPingAsSoonAsTheyStand) {
  for (const lab::Scenario& scenario : lab::scenarios()) {
    if (!scenario.journeys || (scenario.name == "rp-filter" && !v4())) continue;
    SCOPED_TRACE(scenario.name);
    lab::Options options;
    options.family = GetParam();
    TrafficLab lab(scenario.name, options, false);
    ASSERT_TRUE(lab.ok()) << lab.why();
    const ExpectedJourney& ping = journey(lab, "ping");
    expect_ping(ping.from, ping.destination);
  }
}

}  // namespace
}  // namespace weir
