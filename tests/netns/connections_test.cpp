// One connection is one flow, counted once, whatever it crosses: beside
// `conntrack -L` and what one device counts.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "support/named_namespaces.h"
#include "support/process.h"
#include "support/traffic.h"

namespace weir {
namespace {

using nlohmann::json;
using test::address;
using test::Named;
using test::pair;
using test::Translated;

/// weir flows list in the background, until what is to be seen has happened.
class Listing {
 public:
  explicit Listing(std::vector<std::string> more = {}) : process_(command(std::move(more))) {
    EXPECT_TRUE(test::eventually([this] { return process_.err().find("watching") != std::string::npos; },
                                 std::chrono::seconds(30)))
        << process_.err();
  }
  std::vector<json> end() {
    process_.signal(SIGINT);
    const test::Outcome outcome = process_.wait();
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    std::vector<json> lines;
    std::istringstream text(outcome.out);
    for (std::string line; std::getline(text, line);) lines.push_back(json::parse(line));
    return lines;
  }

 private:
  static std::vector<std::string> command(std::vector<std::string> more) {
    std::vector<std::string> all{WEIR_BINARY, "flows", "list", "--for", "1m", "--json"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  test::Process process_;
};

/// The lines about a namespace's connections whose responder-side port is this
/// one.
std::vector<json> connections_to(const std::vector<json>& lines, const std::string& netns, int port) {
  std::vector<json> found;
  for (const json& line : lines) {
    if (line["schema"] != "weir.connection/1") continue;
    const bool there =
        std::ranges::any_of(line["devices"], [&](const json& device) { return device["netns"] == netns; });
    const int dport = line["nat"].is_null() ? line["dport"].get<int>() : line["nat"]["dport"].get<int>();
    if (there && dport == port) found.push_back(line);
  }
  return found;
}

/// How many entries `conntrack -L` has for packets to that port.
std::size_t kernel_entries(const Named& router, const std::vector<std::string>& filter) {
  std::size_t entries = 0;
  for (const char* family : {"ipv4", "ipv6"}) {
    std::vector<std::string> command{"conntrack", "-L", "-f", family, "-o", "xml"};
    command.insert(command.end(), filter.begin(), filter.end());
    const std::string out = router.run(command).out;
    for (std::size_t at = out.find("<flow>"); at != std::string::npos; at = out.find("<flow>", at + 1)) ++entries;
    for (std::size_t at = out.find("<flow "); at != std::string::npos; at = out.find("<flow ", at + 1)) ++entries;
  }
  return entries;
}

void transfer(const Named& from, const Named& to, const std::string& there, const std::string& asked, std::size_t bytes,
              int connections = 1, std::uint16_t asked_port = 80) {
  const test::Address at = address(there, test::kPort);
  const auto socket_in = [](const Named& ns, int family) {
    auto made = netns::open_socket(ns.netns(), family, SOCK_STREAM, 0);
    if (!made) throw std::runtime_error(made.error().message);
    return *std::move(made);
  };
  const sys::Fd listener = socket_in(to, at.storage.ss_family);
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ASSERT_EQ(::bind(listener.get(), test::raw(at), at.size), 0);
  ASSERT_EQ(::listen(listener.get(), 64), 0);
  const test::Address wanted = address(asked, asked_port);
  const std::vector<char> data(65536);
  for (int i = 0; i < connections; ++i) {
    const sys::Fd client = socket_in(from, at.storage.ss_family);
    ASSERT_EQ(::connect(client.get(), test::raw(wanted), wanted.size), 0);
    const sys::Fd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    std::thread reader([&] {
      std::array<char, 65536> chunk{};
      while (::read(peer.get(), chunk.data(), chunk.size()) > 0) {
      }
      ::shutdown(peer.get(), SHUT_WR);
    });
    for (std::size_t sent = 0; sent < bytes;) {
      const ssize_t wrote = ::write(client.get(), data.data(), std::min(data.size(), bytes - sent));
      if (wrote <= 0) break;
      sent += static_cast<std::size_t>(wrote);
    }
    ::shutdown(client.get(), SHUT_WR);
    char byte = 0;
    static_cast<void>(::read(client.get(), &byte, 1));
    reader.join();
  }
}

/// What the kernel counted on one device: [received, sent].
std::pair<std::uint64_t, std::uint64_t> device_bytes(const Named& ns, const std::string& dev) {
  const json link = json::parse(ns.run({"ip", "-s", "-j", "link", "show", dev}).out).at(0).at("stats64");
  return {link["rx"]["bytes"], link["tx"]["bytes"]};
}

class ConnectionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

TEST_F(ConnectionsTest, TranslatedOnesAreOneAndCountedOnce) {
  const Translated net;
  const auto before = device_bytes(net.client, "eth0");
  Listing listing({"--connections"});
  constexpr std::size_t kBytes = 3'000'000;
  transfer(net.client, net.server, "10.9.2.2", "10.99.0.1", kBytes, 3);
  transfer(net.client, net.server, "fd09:2::2", "fd99::1", kBytes, 2);
  const std::size_t entries = kernel_entries(net.router, {"-p", "tcp", "--orig-port-dst", "80"});
  const auto lines = listing.end();
  const auto after = device_bytes(net.client, "eth0");
  ASSERT_EQ(entries, 5U) << "the kernel's own count";
  const auto found = connections_to(lines, net.router.name(), 7000);
  ASSERT_EQ(found.size(), entries);
  std::uint64_t there = 0;
  std::uint64_t back = 0;
  std::set<std::string> ids;
  for (const json& one : found) {
    there += one["to_responder"]["bytes"].get<std::uint64_t>();
    back += one["to_initiator"]["bytes"].get<std::uint64_t>();
    ids.insert(one["connection"]);
    EXPECT_EQ(one["devices"].size(), 4U) << one.dump();
    EXPECT_EQ(one["devices"][0]["netns"], net.client.name());
    EXPECT_EQ(one["devices"][1]["dev"], "pod0");
    EXPECT_EQ(one["devices"][2]["dev"], "up0");
    EXPECT_EQ(one["devices"][3]["netns"], net.server.name());
    EXPECT_EQ(one["dport"], 80);
    ASSERT_FALSE(one["ct"].is_null()) << one.dump();
    EXPECT_EQ(one["state"], "TIME_WAIT");
    EXPECT_EQ(one["ct"]["reply"]["sport"], 7000);
    EXPECT_EQ(one["to_responder"]["counted_at"]["netns"], net.client.name());
    EXPECT_EQ(one["initiator_workload"]["name"], net.client.name());
    EXPECT_EQ(one["responder_workload"]["name"], net.server.name());
  }
  EXPECT_EQ(ids.size(), entries);
  // Neighbour discovery is all that the device has seen besides.
  EXPECT_NEAR(static_cast<double>(there), static_cast<double>(after.second - before.second), 0.001 * 15e6);
  EXPECT_NEAR(static_cast<double>(back), static_cast<double>(after.first - before.first), 2000);
  EXPECT_EQ(lines.back()["schema"], "weir.ledger/1");
  EXPECT_EQ(lines.back()["conntrack"]["source"], "events");
  EXPECT_EQ(lines.back()["conntrack"]["malformed"], 0);
}

TEST_F(ConnectionsTest, EachFlowSaysWhoseItIsAndOneOfThemCounts) {
  const Translated net("ct zone set 7;");
  net.router.sh("sysctl -qw net.netfilter.nf_conntrack_acct=1");
  Listing listing;
  transfer(net.client, net.server, "10.9.2.2", "10.99.0.1", 1'000'000);
  const json kernel = [&] {
    const std::string out = net.router.run({"conntrack", "-L", "-p", "tcp", "-o", "id,extended"}).out;
    const auto number = [&](const std::string& key) {
      return std::stoull(out.substr(out.find(key + "=") + key.size() + 1));
    };
    return json{{"id", number("id")}, {"zone", number("zone")}, {"bytes", number("bytes")}};
  }();
  std::map<std::string, std::map<bool, std::uint64_t>> counted;  // by connection, then by direction
  std::size_t rows = 0;
  for (const json& line : listing.end()) {
    if (line["schema"] != "weir.flow/1" || line["protocol"] != "tcp") continue;
    if (!line["netns"].get<std::string>().starts_with(net.client.name().substr(0, net.client.name().rfind('-') - 1)))
      continue;
    ++rows;
    if (line["counted"]) counted[line["connection"]][line["sport"] == 80 || line["sport"] == 7000] += 1;
    EXPECT_EQ(line["ct"].is_null(), line["netns"] != net.router.name()) << line.dump();
    if (line["ct"].is_null()) continue;
    EXPECT_EQ(line["ct"]["id"], kernel["id"]);
    EXPECT_EQ(line["ct"]["zone"], kernel["zone"]);
    EXPECT_EQ(line["ct"]["original"]["bytes"], kernel["bytes"]);
  }
  EXPECT_EQ(rows, 8U) << "four devices, two directions";
  ASSERT_EQ(counted.size(), 1U);
  const std::map<bool, std::uint64_t> once{{false, 1}, {true, 1}};
  EXPECT_EQ(counted.begin()->second, once);
}

TEST_F(ConnectionsTest, TenantsBehindTwoRoutersNeverMerge) {
  const std::array<Translated, 2> tenants;
  Listing listing({"--connections"});
  std::array<std::uint64_t, 2> before{};
  for (std::size_t i = 0; i < tenants.size(); ++i) {
    before[i] = device_bytes(tenants[i].client, "eth0").second;
    const test::Address own = address("10.9.1.2", 5353);
    auto socket = netns::open_socket(tenants[i].client.netns(), AF_INET, SOCK_DGRAM, 0);
    ASSERT_TRUE(socket);
    ASSERT_EQ(::bind(socket->get(), test::raw(own), own.size), 0);
    const test::Address to = address("10.99.0.1", 80);
    const std::array<char, 100> data{};
    for (std::size_t sent = 0; sent < 100 * (i + 1); ++sent) {
      ASSERT_GT(::sendto(socket->get(), data.data(), data.size(), 0, test::raw(to), to.size), 0);
    }
  }
  const auto lines = listing.end();
  std::set<std::string> ids;
  for (std::size_t i = 0; i < tenants.size(); ++i) {
    const auto found = connections_to(lines, tenants[i].router.name(), 7000);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0]["src"], "10.9.1.2");
    EXPECT_EQ(found[0]["to_responder"]["bytes"], 100 * (i + 1) * (14 + 20 + 8 + 100));
    EXPECT_EQ(found[0]["devices"].size(), 4U);
    ids.insert(found[0]["connection"]);
  }
  EXPECT_EQ(ids.size(), 2U);
}

TEST_F(ConnectionsTest, BridgesAreCrossedAndTenantsOnThemStayApart) {
  const Named host("-h");
  const std::array<Named, 4> pods{Named("-a"), Named("-b"), Named("-c"), Named("-d")};
  host.sh(
      "ip link add br0 type bridge; ip link add br1 type bridge; ip link "
      "set br0 up; ip link set br1 up");
  for (std::size_t i = 0; i < pods.size(); ++i) {
    const std::string port = "p" + std::to_string(i);
    pair(host, port, pods[i], "eth0");
    host.sh(fmt::format("ip link set {} master br{}", port, i / 2));
    pods[i].sh(fmt::format("ip addr add 10.9.5.{}/24 dev eth0", 1 + i % 2));
  }
  Listing listing({"--connections"});
  for (const std::size_t first : {0U, 2U}) {
    const test::Address own = address("10.9.5.1", 5353);
    auto socket = netns::open_socket(pods[first].netns(), AF_INET, SOCK_DGRAM, 0);
    ASSERT_TRUE(socket);
    ASSERT_EQ(::bind(socket->get(), test::raw(own), own.size), 0);
    const test::Address to = address("10.9.5.2", 7000);
    const std::array<char, 200> data{};
    for (int sent = 0; sent < 50; ++sent) ::sendto(socket->get(), data.data(), data.size(), 0, test::raw(to), to.size);
  }
  const auto lines = listing.end();
  std::set<std::string> ids;
  for (std::size_t i = 0; i < pods.size(); ++i) {
    const auto found = connections_to(lines, pods[i].name(), 7000);
    ASSERT_EQ(found.size(), 1U) << i;
    EXPECT_EQ(found[0]["to_responder"]["bytes"], 50 * (14 + 20 + 8 + 200));
    const std::string tenant = i / 2 == 0 ? "p0" : "p2";
    ASSERT_EQ(found[0]["devices"].size(), 4U) << found[0].dump();
    EXPECT_EQ(found[0]["devices"][1]["dev"], tenant);
    ids.insert(found[0]["connection"]);
  }
  EXPECT_EQ(ids.size(), 2U);
}

TEST_F(ConnectionsTest, ShortOnesAreAllThere) {
  const Translated net;
  Listing listing({"--connections"});
  constexpr int kConnections = 400;
  transfer(net.client, net.server, "10.9.2.2", "10.99.0.1", 100, kConnections);
  const std::size_t entries = kernel_entries(net.router, {"-p", "tcp", "--orig-port-dst", "80"});
  const auto lines = listing.end();
  const auto found = connections_to(lines, net.router.name(), 7000);
  EXPECT_EQ(found.size(), entries);
  EXPECT_EQ(entries, static_cast<std::size_t>(kConnections));
  for (const json& one : found) EXPECT_FALSE(one["ct"].is_null());
}

TEST_F(ConnectionsTest, ANamespaceMayVanishMeanwhile) {
  std::optional<Translated> net(std::in_place);
  const std::string router = net->router.name();
  transfer(net->client, net->server, "10.9.2.2", "10.99.0.1", 1000,
           2);  // conntrack is in use before the watch
  Listing listing({"--connections"});
  transfer(net->client, net->server, "10.9.2.2", "10.99.0.1", 1'000'000);
  net.reset();
  const auto lines = listing.end();
  const auto ledger = lines.back();
  EXPECT_EQ(ledger["schema"], "weir.ledger/1");
  EXPECT_EQ(ledger["conntrack"]["unread"], json::array()) << ledger.dump();
  const auto heavy = std::ranges::find_if(lines, [](const json& line) {
    return line["schema"] == "weir.connection/1" && line["dport"] == 80 && line["bytes"] > 900'000 &&
           line["devices"].size() == 4;
  });
  EXPECT_NE(heavy, lines.end()) << "what has been seen is told";
}

TEST_F(ConnectionsTest, TheEndOfAnElephantIsToldWhenConntrackSeesIt) {
  const Translated net;
  transfer(net.client, net.server, "10.9.2.2", "10.99.0.1",
           1000);  // from now on connections are followed
  test::Process watch({WEIR_BINARY, "flows", "elephants", "--watch", "--json", "--for", "1m", "--netns",
                       net.router.name(), "--bytes", "100000", "--rate", "1", "--sustained", "1ms"});
  ASSERT_TRUE(test::eventually(
      [&] { return watch.err().find("watching") != std::string::npos || watch.out().find("{") != std::string::npos; },
      std::chrono::seconds(30)));
  const auto seen = [&](const std::string& event) {
    return watch.out().find("\"event\":\"" + event + "\"") != std::string::npos;
  };
  transfer(net.client, net.server, "10.9.2.2", "10.99.0.1", 50'000'000);
  const auto closed = std::chrono::steady_clock::now();
  EXPECT_TRUE(test::eventually([&] { return seen("ended"); }, std::chrono::seconds(4))) << watch.out();
  EXPECT_TRUE(seen("promoted"));
  EXPECT_LT(std::chrono::steady_clock::now() - closed, std::chrono::seconds(4)) << "silence alone tells after 5 s";
  watch.signal(SIGINT);
  EXPECT_EQ(watch.wait().code, 0);
}

TEST_F(ConnectionsTest, TheTextShowsBothEndsAndTheTranslation) {
  const Translated net;
  test::Process list({WEIR_BINARY, "flows", "list", "--connections", "--for", "1m", "--limit", "1000"});
  ASSERT_TRUE(
      test::eventually([&] { return list.err().find("watching") != std::string::npos; }, std::chrono::seconds(30)));
  transfer(net.client, net.server, "10.9.2.2", "10.99.0.1", 1'000'000);
  list.signal(SIGINT);
  const test::Outcome outcome = list.wait();
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.out.find("> 10.99.0.1:80"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("10.9.2.2:7000"), std::string::npos);
  EXPECT_NE(outcome.out.find("TIME_WAIT"), std::string::npos);
  EXPECT_NE(outcome.out.find("ledger:"), std::string::npos);
  EXPECT_NE(outcome.out.find("conntrack:"), std::string::npos);
}

}  // namespace
}  // namespace weir
