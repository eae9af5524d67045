// Journeys along the axes that change what a packet is made of: segmentation and merging in every combination, VLAN
// tags beside and within the frame, and memory that is used again by what is no packet. The truth is tcpdump's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "support/lab.h"
#include "support/leaks.h"
#include "support/process.h"
#include "support/trace_events.h"

namespace weir {
namespace {

using nlohmann::json;
using test::eventually;
using test::Outcome;
using test::TracedEvents;
using test::TrafficLab;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A lab without traffic, and a trace of it while something happens.
class TraceAxes : public ::testing::Test {
 protected:
  void up(const char* scenario) {
    lab_.emplace(scenario, lab::Options{}, false);
    ASSERT_TRUE(lab_->ok()) << lab_->why();
  }

  Outcome in(const std::string& role, std::vector<std::string> command) const {
    command.insert(command.begin(), {"ip", "netns", "exec", lab_->netns(role)});
    return test::run(std::move(command));
  }

  template <class Body>
  Outcome traced(std::vector<std::string> arguments, Body&& body) const {
    arguments.insert(arguments.begin(), {WEIR_BINARY, "trace", "--json"});
    test::Process process(arguments);
    EXPECT_TRUE(eventually([&] { return process.err().contains("tracing at"); }, std::chrono::seconds(60)))
        << process.err();
    body();
    process.signal(SIGINT);
    return process.wait();
  }

  [[nodiscard]] std::string address(const char* journey) const {
    const auto& all = lab_->lab().blueprint().journeys;
    const auto found = std::ranges::find(all, journey, &lab::ExpectedJourney::name);
    return found == all.end() ? all.front().destination : found->destination;
  }

  std::optional<TrafficLab> lab_;
};

/// Merging at the receivers, cutting by the driver, and packets that the kernel cuts late: each on or off.
struct Offloads {
  bool gro;
  bool tso;
  bool gso;
};

class TraceOffloads : public TraceAxes, public ::testing::WithParamInterface<Offloads> {
 protected:
  void SetUp() override {
    WEIR_NEED_ROOT();
    up("nat");
    const char* gro = GetParam().gro ? "on" : "off";
    const char* tso = GetParam().tso ? "on" : "off";
    const char* gso = GetParam().gso ? "on" : "off";
    for (const auto& [role, dev] : {std::pair{"pod", "eth0"}, {"host", "pv0"}, {"host", "nic0"}, {"server", "eth0"}}) {
      const Outcome set = in(role, {"ethtool", "-K", dev, "gro", gro, "tso", tso, "gso", gso});
      ASSERT_EQ(set.code, 0) << set.err;
    }
  }

  /// Sequence numbers of what left the pod with data, as a capture has them.
  static std::multiset<std::uint32_t> sequences(const std::string& pcap) {
    const Outcome read = test::run({"tshark", "-r", pcap, "-o", "tcp.relative_sequence_numbers:FALSE", "-Y",
                                    "tcp.len > 0 && tcp.dstport == 4714", "-T", "fields", "-e", "tcp.seq"});
    EXPECT_EQ(read.code, 0) << read.err;
    std::multiset<std::uint32_t> all;
    std::istringstream lines(read.out);
    for (std::uint32_t seq = 0; lines >> seq;) all.insert(seq);
    return all;
  }
};

bool carries_data(const json& event) {
  const json& packet = event["packet"];
  return !packet.is_null() && packet.contains("tcp") && packet["tcp"]["dport"] == 4714 &&
         packet["tcp"]["payload_bytes"].get<std::uint32_t>() != 0;
}

TEST_P(TraceOffloads, EverySegmentHasOneJourneyThatIsOnlyItsOwn) {
  const std::string serve =
      "import socket\ns = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
      "s.bind(('', 4714))\ns.listen()\nc, _ = s.accept()\nn = 0\n"
      "while n < 150000:\n  n += len(c.recv(65536))\nc.sendall(b'.')\nc.recv(1)\n";
  const std::string send = "import socket\ns = socket.create_connection(('" + address("vip") +
                           "', 4714))\ns.sendall(b'x' * 150000)\ns.recv(1)\ns.close()\n";
  test::Process server({"ip", "netns", "exec", lab_->netns("server"), "python3", "-c", serve});
  ASSERT_TRUE(eventually([&] { return in("server", {"ss", "-ltn"}).out.contains(":4714"); }));
  const std::string pcap = std::filesystem::temp_directory_path() / ("weir-axes-" + std::to_string(getpid()) + ".pcap");
  const Outcome outcome = traced({"--netns", lab_->netns("pod"), "tcp"}, [&] {
    test::Process capture({"ip", "netns", "exec", lab_->netns("pod"), "tcpdump", "-i", "eth0", "-Q", "out", "-s", "128",
                           "-U", "--immediate-mode", "-w", pcap, "tcp"});
    ASSERT_TRUE(eventually([&] { return capture.err().contains("listening on"); })) << capture.err();
    EXPECT_EQ(in("pod", {"python3", "-c", send}).code, 0);
    capture.signal(SIGINT);
    EXPECT_THAT(capture.wait().err, HasSubstr("0 packets dropped by kernel"));
  });
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const TracedEvents seen = test::read_events(outcome.out);
  test::expect_books(seen);
  test::expect_room_for_all(seen.summary);
  std::multiset<std::uint32_t> left_pod;
  for (const auto& [id, events] : seen.journeys) {
    if (!carries_data(events.front())) continue;
    const json& first = events.front()["packet"]["tcp"];
    const auto begin = first["seq"].get<std::uint32_t>();
    bool ends = false;                    // delivered, or merged into another one
    std::map<std::string, json> headers;  // of each sk_buff: said again only where they change
    for (const json& event : events) {
      json& known = headers[event["skb"]["address"]];
      if (!event["packet"].is_null() && event["packet"].contains("tcp")) known = event["packet"]["tcp"];
      if (known.is_null()) known = first;
      EXPECT_LT(known["seq"].get<std::uint32_t>() - begin, first["payload_bytes"].get<std::uint32_t>())
          << id << " holds another packet too";
      const bool leaves = event["hook"] == "net:net_dev_start_xmit" && event["netns"] == lab_->netns("pod");
      if (leaves) left_pod.insert(known["seq"].get<std::uint32_t>());
      // A merged packet is freed with the one that it was merged into.
      const bool with_another = GetParam().gro && !event["drop"].is_null() &&
                                event["drop"]["location"].get<std::string>().starts_with("skb_release_data");
      EXPECT_TRUE(event["drop"].is_null() || with_another) << id << event.dump();
      ends = ends || with_another || event["netns"] == lab_->netns("server") ||
             event["hook"].get<std::string>().starts_with("net:napi_gro");
    }
    EXPECT_EQ(events.front()["netns"], lab_->netns("pod")) << id;
    EXPECT_TRUE(ends) << id << " ends at " << events.back().dump();
  }
  EXPECT_EQ(left_pod, sequences(pcap));
  EXPECT_GE(left_pod.size(), 2U);
  std::filesystem::remove(pcap);
}

INSTANTIATE_TEST_SUITE_P(Offloads, TraceOffloads,
                         ::testing::Values(Offloads{false, false, true}, Offloads{false, true, true},
                                           Offloads{true, false, true}, Offloads{true, true, true},
                                           Offloads{false, false, false}, Offloads{false, true, false},
                                           Offloads{true, false, false}, Offloads{true, true, false}),
                         [](const auto& param) {
                           return std::string(param.param.gro ? "gro" : "nogro") +
                                  (param.param.tso ? "_tso" : "_notso") + (param.param.gso ? "_gso" : "_nogso");
                         });

/// Sends UDP datagrams whose frames have these tags, outermost first, from a device to a MAC.
std::string send_tagged(const std::string& mac, const std::string& tags, int packets) {
  return "import socket, struct\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\ns.bind(('eth0', 0))\n"
         "mac = bytes.fromhex('" +
         mac +
         "'.replace(':', ''))\nown = s.getsockname()[4]\n"
         "for i in range(" +
         std::to_string(packets) +
         "):\n"
         "  udp = struct.pack('>HHHH', 4715, 4716, 8 + 16, 0) + struct.pack('>I', i) * 4\n"
         "  ip = struct.pack('>BBHHHBBH4s4s', 69, 0, 20 + len(udp), 77 + i, 0, 64, 17, 0, bytes([10,9,9,1]), "
         "bytes([10,9,9,2]))\n"
         "  s.send(mac + own + b''.join(struct.pack('>HH', p, t) for p, t in " +
         tags + ") + b'\\x08\\x00' + ip + udp)\n";
}

class TraceVlans : public TraceAxes {
 protected:
  void SetUp() override {
    WEIR_NEED_ROOT();
    up("bridge");
    mac_ = json::parse(in("server", {"ip", "-j", "link", "show", "eth0"}).out).at(0).at("address");
  }

  /// Journeys that pass pod, bridge ports and server, with all their tags, outermost first, at each event.
  void expect_whole(const TracedEvents& seen, std::size_t packets, const std::vector<int>& ids) const {
    EXPECT_EQ(seen.journeys.size(), packets);
    for (const auto& [id, events] : seen.journeys) {
      std::set<std::string> passed;
      json known;
      for (const json& event : events) {
        passed.insert(event["netns"].get<std::string>() + "/" + event["dev"].get<std::string>());
        if (!event["packet"].is_null()) known = event["packet"];
        std::vector<int> tags;
        if (!event["skb"]["vlan"].is_null()) tags.push_back(event["skb"]["vlan"]["id"].get<int>());
        if (known.contains("vlans")) {
          for (const json& tag : known["vlans"]) tags.push_back(tag["id"].get<int>());
        }
        if (event["drop"].is_null()) {  // the server has no such VLAN, and takes the tag off before it says so
          EXPECT_EQ(tags, ids) << event.dump();
        }
      }
      for (const std::string& device : {lab_->netns("pod") + "/eth0", lab_->netns("host") + "/pv0",
                                        lab_->netns("host") + "/nic0", lab_->netns("server") + "/eth0"}) {
        EXPECT_THAT(passed, Contains(device)) << id;
      }
    }
  }

  std::string mac_;
};

TEST_F(TraceVlans, KeepTheirTagsOnTheWayThroughABridge) {
  const std::string file =
      std::filesystem::temp_directory_path() / ("weir-vlans-" + std::to_string(getpid()) + ".weir");
  const std::string send = send_tagged(mac_, "[(0x8100, 3 << 13 | 42)]", 5) + send_tagged(mac_, "[(0x8100, 43)]", 5);
  const Outcome live = traced({"--netns", lab_->netns("pod"), "vlan 42 and udp"}, [&] {
    EXPECT_EQ(in("pod", {"python3", "-c", send}).code, 0);
  });
  expect_whole(test::read_events(live.out), 5, {42});
  EXPECT_THAT(live.out, HasSubstr(R"("priority":3)"));
  // What is recorded by a filter that does not speak of tags is told apart by one that does.
  const Outcome recorded = traced({"-o", file, "--netns", lab_->netns("pod"), "ether[0] & 1 == 0"}, [&] {
    EXPECT_EQ(in("pod", {"python3", "-c", send}).code, 0);
  });
  EXPECT_EQ(recorded.code, 0) << recorded.err;
  const auto shown = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"show", file, "--json"});
    return test::read_events(test::run_weir(std::move(more)).out);
  };
  expect_whole(shown({"vlan 42 and udp"}), 5, {42});
  expect_whole(shown({"--where", "vlan == 43"}), 5, {43});
  EXPECT_EQ(shown({"vlan 44"}).journeys.size(), 0U);
  std::filesystem::remove(file);
}

TEST_F(TraceVlans, KeepBothTagsOfQinQ) {
  const Outcome outcome = traced({"--netns", lab_->netns("pod"), "vlan 7 and vlan 42"}, [&] {
    EXPECT_EQ(in("pod", {"python3", "-c", send_tagged(mac_, "[(0x88a8, 7), (0x8100, 42)]", 5)}).code, 0);
  });
  expect_whole(test::read_events(outcome.out), 5, {7, 42});
  EXPECT_THAT(outcome.out, HasSubstr("0x88a8"));
}

class TraceReuse : public TraceAxes {
 protected:
  void SetUp() override {
    WEIR_NEED_ROOT();
    up("nat");
  }
};

TEST_F(TraceReuse, TakesNoMessageOfNetlinkForADatagramThatWasReadBefore) {
  // A datagram that is read leaves its sk_buff to the next one on that CPU: a message that lists devices.
  const std::string talk =
      "import os, socket, struct\nos.sched_setaffinity(0, {0})\n"
      "a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\na.bind(('127.0.0.1', 4717))\n"
      "n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\nn.bind((0, 0))\n"
      "for i in range(100):\n  a.sendto(struct.pack('>I', i) * 8, ('127.0.0.1', 4717))\n  a.recv(100)\n"
      "  n.send(struct.pack('=IHHII16s', 32, 18, 0x301, i, 0, b''))\n"
      "  while struct.unpack_from('=H', n.recv(65536), 4)[0] != 3: pass\n";
  const Outcome outcome = traced({"udp port 4717"}, [&] {
    ASSERT_EQ(in("pod", {"ip", "link", "set", "lo", "up"}).code, 0);
    const Outcome talked = in("pod", {"python3", "-c", talk});
    EXPECT_EQ(talked.code, 0) << talked.err;
  });
  const TracedEvents seen = test::read_events(outcome.out);
  EXPECT_EQ(seen.journeys.size(), 100U);
  for (const auto& [id, events] : seen.journeys) {
    for (const json& event : events) {
      ASSERT_TRUE(event["packet"].is_null() || event["packet"].contains("udp")) << id << event.dump();
    }
  }
}

}  // namespace
}  // namespace weir
