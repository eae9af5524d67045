// weir trace beside the truth from outside: one journey a packet whatever becomes of it, books that add up when events
// are lost, recordings that give back what was seen, and clear words for wrong ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "support/cgroup.h"
#include "support/lab.h"
#include "support/leaks.h"
#include "support/process.h"
#include "support/trace_events.h"

namespace weir {
namespace {

using nlohmann::json;
using test::number;
using test::Outcome;
using test::read_events;
using test::TrafficLab;
using Seen = test::TracedEvents;
using ::testing::HasSubstr;

/// pod → host → server without traffic of its own; a trace of it while a command runs.
class TraceCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    lab::Options options;
    options.family = family_;
    lab_.emplace("nat", options, false);
    ASSERT_TRUE(lab_->ok()) << lab_->why();
    const auto& journeys = lab_->lab().blueprint().journeys;
    const auto whole = std::ranges::find(journeys, "vip", &lab::ExpectedJourney::name);
    vip_ = whole == journeys.end() ? journeys.front().destination : whole->destination;
  }

  /// Starts the trace, waits until its programs are attached, runs `body`, then ends it.
  template <class Body>
  Outcome traced(std::vector<std::string> arguments, Body&& body) {
    arguments.insert(arguments.begin(), {WEIR_BINARY, "trace"});
    test::Process process(arguments);
    EXPECT_TRUE(test::eventually([&] { return process.err().contains("tracing at"); }, std::chrono::seconds(60)))
        << process.err();
    body();
    process.signal(SIGINT);
    return process.wait();
  }

  Outcome in(const std::string& role, std::vector<std::string> command) const {
    command.insert(command.begin(), {"ip", "netns", "exec", lab_->netns(role)});
    return test::run(std::move(command));
  }

  lab::Family family_ = lab::Family::v4;
  std::optional<TrafficLab> lab_;
  std::string vip_;
};

class TraceCommandV6 : public TraceCommand {
 protected:
  TraceCommandV6() { family_ = lab::Family::v6; }
};

/// Type and sequence number of each request journey that begins in the pod, which must be the same at each event.
std::vector<std::pair<int, int>> echoes(const Seen& seen, const std::string& pod) {
  std::vector<std::pair<int, int>> all;
  for (const auto& [id, events] : seen.journeys) {
    if (events.front()["netns"] != pod || events.front()["first"] != true) continue;
    std::set<std::pair<int, int>> own;
    for (const json& event : events) {
      const json& packet = event["packet"];
      if (packet.is_null() || !packet.contains("icmp") || !packet["icmp"].contains("seq")) continue;
      own.emplace(packet["icmp"]["type"].get<int>(), packet["icmp"]["seq"].get<int>());
    }
    EXPECT_LE(own.size(), 1U) << id << ": another packet was glued to it";
    if (own.empty() || own.begin()->first != 8) continue;  // an answer
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

TEST_F(TraceCommand, GivesEachOfManyPingsOneJourney) {
  const std::string pod = lab_->netns("pod");
  const Outcome outcome = traced({"--json", "--netns", pod, "icmp"}, [&] {
    // Clones: somebody else looks at every packet of the host.
    test::Process tcpdump({"ip", "netns", "exec", lab_->netns("host"), "tcpdump", "-i", "any", "-w", "/dev/null"});
    const std::string command = "for i in $(seq 16); do ping -q -c 20 -i 0.02 -W 2 " + vip_ + " & done; wait";
    EXPECT_EQ(in("pod", {"sh", "-c", command}).code, 0);
  });
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Seen seen = read_events(outcome.out);
  test::expect_books(seen);
  EXPECT_EQ(number(seen.summary, "lost"), number(seen.summary, "missed"));
  std::map<int, int> by_sequence;
  for (const auto& [id, sequence] : echoes(seen, pod)) ++by_sequence[sequence];
  ASSERT_EQ(by_sequence.size(), 20U);
  for (const auto& [sequence, journeys] : by_sequence) EXPECT_EQ(journeys, 16) << "sequence " << sequence;
}

TEST_F(TraceCommandV6, GivesEachPingOneJourney) {
  const std::string pod = lab_->netns("pod");
  const Outcome outcome = traced({"--json", "--netns", pod, "icmp6"}, [&] {
    EXPECT_EQ(in("pod", {"ping", "-q", "-c", "10", "-i", "0.02", vip_}).code, 0);
  });
  const Seen seen = read_events(outcome.out);
  std::set<int> sequences;
  for (const auto& [id, events] : seen.journeys) {
    const json& packet = events.front()["packet"];
    if (packet.is_null() || !packet.contains("icmp") || packet["icmp"].value("type", 0) != 128) continue;
    EXPECT_TRUE(sequences.insert(packet["icmp"]["seq"].get<int>()).second)
        << id << " is a second journey of its packet";
    EXPECT_EQ(events.back()["netns"], lab_->netns("server")) << id;
  }
  EXPECT_EQ(sequences.size(), 10U);
}

TEST_F(TraceCommand, KeepsTheFragmentsOfADatagramTogether) {
  const std::string pod = lab_->netns("pod");
  const Outcome outcome = traced({"--json", "--netns", pod, "icmp"}, [&] {
    EXPECT_EQ(in("pod", {"ping", "-q", "-c", "3", "-i", "0.05", "-s", "4000", vip_}).code, 0);
  });
  const Seen seen = read_events(outcome.out);
  std::size_t requests = 0;
  for (const auto& [id, events] : seen.journeys) {
    if (events.front()["hook"] != "net:net_dev_queue" || events.front()["netns"] != pod) continue;
    ++requests;
    std::set<int> offsets;
    for (const json& event : events) {
      if (!event["packet"].is_null() && event["packet"].contains("ip")) {
        offsets.insert(event["packet"]["ip"]["fragment_offset_bytes"].get<int>());
      }
    }
    EXPECT_GE(offsets.size(), 3U) << id;
  }
  EXPECT_EQ(requests, 3U);
}

TEST_F(TraceCommandV6, FollowsPacketsWithExtensionHeaders) {
  const std::string send =
      "import socket\ns = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
      "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, bytes([0, 0, 1, 4, 0, 0, 0, 0]))\n"
      "for i in range(5): s.sendto(b'weir', ('" +
      vip_ + "', 4711))\n";
  EXPECT_EQ(test::run_weir({"trace", "--for", "1s", "ip6 protochain 17"}).code, 2);  // a loop
  const Outcome followed = traced({"--json", "--netns", lab_->netns("pod"), "ip6[6] == 60"}, [&] {
    EXPECT_EQ(in("pod", {"python3", "-c", send}).code, 0);
  });
  const Seen seen = read_events(followed.out);
  std::size_t arrived = 0;
  for (const auto& [id, events] : seen.journeys) {
    arrived += events.back()["netns"] == lab_->netns("server") && events.front()["netns"] == lab_->netns("pod") ? 1 : 0;
  }
  EXPECT_EQ(arrived, 5U);
}

TEST_F(TraceCommand, FollowsTheSegmentsThatABigPacketIsCutInto) {
  ASSERT_EQ(in("pod", {"ethtool", "-K", "eth0", "tso", "off"}).code, 0);
  const std::string serve =
      "import socket\ns = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
      "s.bind(('', 4712))\ns.listen()\nc, _ = s.accept()\nn = 0\n"
      "while n < 200000:\n  n += len(c.recv(65536))\nc.sendall(b'.')\n";
  const std::string send =
      "import socket\ns = socket.create_connection(('" + vip_ + "', 4712))\ns.sendall(b'x' * 200000)\ns.recv(1)\n";
  test::Process server({"ip", "netns", "exec", lab_->netns("server"), "python3", "-c", serve});
  ASSERT_TRUE(test::eventually([&] { return in("server", {"ss", "-ltn"}).out.contains(":4712"); }));
  const Outcome outcome = traced({"--json", "--netns", lab_->netns("pod"), "tcp"}, [&] {
    EXPECT_EQ(in("pod", {"python3", "-c", send}).code, 0);
  });
  const Seen seen = read_events(outcome.out);
  std::size_t cut = 0;
  for (const auto& [id, events] : seen.journeys) {
    if (events.front()["netns"] != lab_->netns("pod") || events.front()["skb"]["gso_segs"].get<int>() < 2) continue;
    std::set<std::string> parts;
    for (const json& event : events) {
      if (event["hook"] == "net:net_dev_start_xmit") parts.insert(event["skb"]["address"].get<std::string>());
    }
    cut += parts.size() > 1 ? 1 : 0;
  }
  EXPECT_GE(cut, 1U);
  EXPECT_EQ(number(seen.summary, "lost"), number(seen.summary, "missed"));
}

TEST_F(TraceCommand, AddsUpWhenEventsAreLost) {
  const Outcome outcome = traced({"--json", "--ring", "4k", "icmp"}, [&] {
    EXPECT_EQ(in("pod", {"ping", "-q", "-f", "-c", "3000", vip_}).code, 0);
  });
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Seen seen = read_events(outcome.out);
  test::expect_books(seen);
  EXPECT_GT(number(seen.summary, "lost"), 0U);
  EXPECT_LT(number(seen.summary, "journeys_complete"), number(seen.summary, "journeys"));
}

TEST_F(TraceCommand, SamplesWholeFlows) {
  const Outcome outcome = traced({"--json", "--sample", "4", "--netns", lab_->netns("pod"), "udp port 4713"}, [&] {
    const std::string send =
        "import socket\nfor port in range(20000, 20064):\n"
        "  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n  s.bind(('', port))\n"
        "  for i in range(3): s.sendto(b'weir weir', ('" +
        vip_ + "', 4713))\n";
    EXPECT_EQ(in("pod", {"python3", "-c", send}).code, 0);
  });
  const Seen seen = read_events(outcome.out);
  test::expect_books(seen);
  EXPECT_GT(number(seen.summary, "sampled_out"), 0U);
  std::map<int, int> packets;
  for (const auto& [id, events] : seen.journeys) {
    if (events.front()["netns"] == lab_->netns("pod")) ++packets[events.front()["packet"]["udp"]["sport"].get<int>()];
  }
  EXPECT_GT(packets.size(), 4U);
  EXPECT_LT(packets.size(), 32U);
  for (const auto& [port, count] : packets) EXPECT_EQ(count, 3) << port;
}

TEST_F(TraceCommand, GivesBackWhatItRecorded) {
  const auto folder = std::filesystem::temp_directory_path() / ("weir-trace-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const std::string file = (folder / "pings.weir").string();
  const Outcome outcome = traced({"--json", "-o", file, "icmp"}, [&] {
    EXPECT_EQ(in("pod", {"ping", "-q", "-c", "10", "-i", "0.02", vip_}).code, 0);
  });
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json recorded = json::parse(outcome.out);
  const Outcome shown = test::run_weir({"show", file, "--json"});
  ASSERT_EQ(shown.code, 0) << shown.err;
  const Seen seen = read_events(shown.out);
  std::uint64_t events = 0;
  for (const auto& [id, own] : seen.journeys) events += own.size();
  EXPECT_EQ(number(recorded, "emitted"), events);
  EXPECT_EQ(number(seen.summary, "seen"), number(recorded, "seen"));
  const Outcome replies = test::run_weir({"show", file, "--json", "icmp[icmptype] == icmp-echoreply"});
  EXPECT_EQ(read_events(replies.out).journeys.size() * 2, seen.journeys.size());
  const Outcome nothing = test::run_weir({"show", file, "--json", "--where", "netns == nowhere"});
  EXPECT_EQ(read_events(nothing.out).journeys.size(), 0U);
  EXPECT_EQ(test::run_weir({"trace", "-o", file, "--for", "1s"}).code, 2);  // it is there already
  for (const char* format : {"pcapng", "json", "perfetto"}) {
    const Outcome converted = test::run_weir({"convert", file, "--to", format});
    EXPECT_EQ(converted.code, 0) << converted.err;
  }
  EXPECT_GT(std::filesystem::file_size(folder / "pings.pcapng"), 1000U);
  std::filesystem::remove_all(folder);
}

TEST_F(TraceCommand, NamesWhoOwnsThePackets) {
  if (!test::unified_cgroups()) GTEST_SKIP() << "cgroup v2 is not mounted here, or not for writing";
  const std::string id(64, 'a');
  const std::string name = "docker-" + id.substr(0, 12);
  const test::CgroupFolder scope("/weir-trace-" + std::to_string(getpid()) + "/docker-" + id + ".scope");
  const std::string pod = lab_->netns("pod");
  // The cgroup first: ip(8) mounts another /sys.
  const std::string script = "echo 0 > " + *test::unified_cgroups() + scope.path() +
                             "/cgroup.procs && exec ip netns exec " + pod + " ping -q -c 20 -i 0.1 " + vip_;
  const auto folder = std::filesystem::temp_directory_path() / ("weir-owner-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const std::string file = (folder / "owned.weir").string();
  for (const bool recorded : {false, true}) {
    std::vector<std::string> words{"--json", "--netns", pod, "icmp"};
    if (recorded) words.insert(words.end(), {"-o", file});
    const Outcome traced_outcome = traced(words, [&] { EXPECT_EQ(test::run({"sh", "-c", script}).code, 0); });
    ASSERT_EQ(traced_outcome.code, 0) << traced_outcome.err;
    const Outcome outcome = recorded ? test::run_weir({"show", file, "--json"}) : traced_outcome;
    std::size_t sent = 0;
    std::size_t received = 0;
    for (const auto& [journey, events] : read_events(outcome.out).journeys) {
      for (const json& event : events) {
        if (event["hook"] == "net:net_dev_queue" && event["netns"] == pod) {
          EXPECT_EQ(event["workload"], name) << "by the socket's cgroup";
          ++sent;
        }
        if (event["hook"] == "net:netif_receive_skb" && event["netns"] == pod) received += event["workload"] == name;
      }
    }
    EXPECT_GE(sent, 20U);
    EXPECT_GE(received, 5U) << "what comes in has no socket yet: by the namespace, within a second";
  }
  const Outcome ours = test::run_weir({"show", file, "--where", "workload == \"" + name + "\""});
  EXPECT_THAT(ours.out, HasSubstr("of " + name));
  const Outcome others = test::run_weir({"show", file, "--json", "--where", "workload == \"docker-bbbbbbbbbbbb\""});
  EXPECT_EQ(read_events(others.out).journeys.size(), 0U);
  std::filesystem::remove_all(folder);
}

TEST_F(TraceCommand, ReadsARecordingWhoseWriterWasKilled) {
  const auto folder = std::filesystem::temp_directory_path() / ("weir-killed-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const std::string file = (folder / "killed.weir").string();
  {
    test::Process process({WEIR_BINARY, "trace", "-o", file, "icmp"});
    ASSERT_TRUE(test::eventually([&] { return process.err().contains("tracing at"); }, std::chrono::seconds(60)));
    test::Process ping({"ip", "netns", "exec", lab_->netns("pod"), "ping", "-q", "-i", "0.02", vip_});
    EXPECT_TRUE(
        test::eventually([&] { return std::filesystem::exists(file) && std::filesystem::file_size(file) > 4000; },
                         std::chrono::seconds(20)));
    process.signal(SIGKILL);
    process.wait();
  }
  const Outcome shown = test::run_weir({"show", file, "--json"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  const Seen seen = read_events(shown.out);
  EXPECT_GE(seen.journeys.size(), 10U);
  std::filesystem::remove_all(folder);
}

TEST_F(TraceCommand, SaysHowFarItGotOnAFullDisk) {
  const std::string script = "mount -t tmpfs -o size=64k t /mnt && " + std::string(WEIR_BINARY) +
                             " trace -o /mnt/full.weir --for 20s; echo code $?; " + WEIR_BINARY +
                             " show /mnt/full.weir | tail -1";
  test::Process flood({"ip", "netns", "exec", lab_->netns("pod"), "ping", "-q", "-f", vip_});
  const Outcome outcome = test::run({"unshare", "-m", "sh", "-c", script});
  EXPECT_THAT(outcome.out, HasSubstr("code 1"));
  EXPECT_THAT(outcome.err, HasSubstr("records"));
  EXPECT_THAT(outcome.out, HasSubstr("was not closed"));
}

TEST(TraceErrors, AreOneClearLine) {
  struct Case {
    std::vector<std::string> arguments;
    int code;
    const char* says;
  };
  const std::string foreign = std::string(WEIR_SOURCE_DIR) + "/README.md";
  const Case cases[] = {
      {{"trace", "icmp and ("}, 2, "can't parse filter expression"},
      {{"trace", "--where", "queue_maping == 1"}, 2, "queue_mapping"},
      {{"trace", "--where", "len <"}, 2, "--where"},
      {{"trace", "--probe", "net_dev_quee"}, 2, "did you mean net:net_dev_queue?"},
      {{"trace", "--probe", "nf:dant"}, 2, "did you mean dnat"},
      {{"trace", "--watch", "queue_maping"}, 2, "did you mean queue_mapping?"},
      {{"trace", "--profile", "genric"}, 2, "did you mean generic?"},
      {{"trace", "--profile", "/nonexistent.json"}, 1, "/nonexistent.json"},
      {{"trace", "--ring", "1"}, 2, "4k is the least"},
      {{"trace", "--ring", "many"}, 2, "--ring many"},
      {{"trace", "--for", "soon"}, 2, "--for"},
      {{"trace", "--slower", "1parsec"}, 2, "--slower"},
      {{"trace", "--netns", "weir-no-such"}, 1, "weir-no-such"},
      {{"trace", "--watch", "mark", "--paths"}, 2, "exclude each other"},
      {{"trace", "--watch", "mark", "--slower", "1ms"}, 2, "--where, --slower and --count are for journeys"},
      {{"trace", "--html", "/tmp/x", "udp"}, 2, "--html is the picture of --paths"},
      {{"trace", "-o", "/nonexistent/x", "--paths"}, 2, "-o records instead of showing"},
      {{"trace", "--nft", "--paths"}, 2, "--nft names rules in journeys"},
      {{"show", "/nonexistent.weir", "--paths", "--latency"}, 2, "exclude each other"},
      {{"show", "/nonexistent.weir", "--html", "/tmp/x"}, 2, "--html is the picture of --paths"},
      {{"show", "/nonexistent.weir"}, 1, "/nonexistent.weir"},
      {{"show", foreign}, 2, "no recording"},
      {{"convert", foreign, "--to", "pcap"}, 2, "did you mean pcapng?"},
  };
  for (const Case& one : cases) {
    std::vector<std::string> arguments = one.arguments;
    if (arguments[0] == "trace" && arguments.size() < 4 && one.code == 2) {
      arguments.insert(arguments.end(), {"--for", arguments[1] == "--for" ? arguments[2] : "1s"});
    }
    const Outcome outcome = test::run_weir(arguments);
    EXPECT_EQ(outcome.code, one.code) << ::testing::PrintToString(arguments) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(one.says)) << ::testing::PrintToString(arguments);
  }
}

TEST(TraceWatch, FindsWhereTheQueueWasRecorded) {
  WEIR_NEED_ROOT();
  TrafficLab lab("tx-collapse-tap", {});
  ASSERT_TRUE(lab.ok()) << lab.why();
  const Outcome outcome = test::run_weir({"trace", "--json", "--watch", "queue_mapping", "--profile", "queues", "--in",
                                          lab.netns("host"), "--for", "2s", "udp"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json document = json::parse(outcome.out);
  test::expect_balanced(document["summary"]);
  // A TAP's packets have it from the first hook on; the device then takes queue 0, where it had been recorded as 0 + 1.
  bool found = false;
  for (const json& change : document["changes"]) {
    found = found || (change["field"] == "queue_mapping" && change["before"] == 1 && change["after"] == 0 &&
                      change["to"]["hook"] == "net:net_dev_queue" && change["to"]["netns"] == lab.netns("host"));
  }
  EXPECT_TRUE(found) << document["changes"].dump(1);
}

}  // namespace
}  // namespace weir
