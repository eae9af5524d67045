// weir show beside live traces of the same packets: paths and changes that were counted in the kernel, and rules of
// nftables, come out of a recording as they were.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "support/lab.h"
#include "support/process.h"
#include "support/trace_events.h"

namespace weir {
namespace {

using nlohmann::json;
using test::number;
using test::Outcome;
using test::TrafficLab;
using ::testing::HasSubstr;

/// What is said of how often, by what it is said of.
using Counts = std::map<std::string, std::uint64_t>;

std::string place(const json& stop) {
  return stop["netns"].get<std::string>() + "/" + stop["dev"].get<std::string>() + " " +
         stop["hook"].get<std::string>() + " " + stop.value("drop_reason", "");
}

Counts paths_of(const json& document) {
  Counts counts;
  for (const json& path : document["paths"]) {
    std::string way = path["end"].get<std::string>();
    for (const json& stop : path["stops"]) {
      way += "\n  " + place(stop) + " x" + stop["packets"].dump() + (stop.value("part", false) ? " part" : "");
    }
    counts[way] += number(path, "packets");
  }
  for (const json& copy : document["copies"]) counts["copy " + place(copy)] += number(copy, "packets");
  return counts;
}

Counts changes_of(const json& document) {
  Counts counts;
  for (const json& change : document["changes"]) {
    counts[change["field"].get<std::string>() + " " + change["before"].dump() + " -> " + change["after"].dump() + ", " +
           place(change["from"]) + " -> " + place(change["to"])] += number(change, "packets");
  }
  return counts;
}

/// Events that count, by hook, where there are any.
Counts emitted_of(const json& document) {
  Counts counts;
  for (const auto& [name, account] : document["summary"]["hooks"].items()) {
    test::expect_balanced(account);
    if (number(account, "emitted") != 0) counts[name] = number(account, "emitted");
  }
  return counts;
}

class TraceShow : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    folder_ = std::filesystem::temp_directory_path() / ("weir-show-" + std::to_string(getpid()));
    std::filesystem::create_directory(folder_);
    file_ = (folder_ / "packets.weir").string();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void start_nat(lab::Family family) {
    lab::Options options;
    options.family = family;
    lab_.emplace("nat", options, false);
    ASSERT_TRUE(lab_->ok()) << lab_->why();
    const auto& journeys = lab_->lab().blueprint().journeys;
    const auto whole = std::ranges::find(journeys, "vip", &lab::ExpectedJourney::name);
    vip_ = whole == journeys.end() ? journeys.front().destination : whole->destination;
    // What is cut has parts.
    ASSERT_EQ(in("pod", {"ethtool", "-K", "eth0", "tso", "off"}).code, 0);
  }

  Outcome in(const std::string& role, std::vector<std::string> command) const {
    command.insert(command.begin(), {"ip", "netns", "exec", lab_->netns(role)});
    return test::run(std::move(command));
  }

  /// Pings, some in fragments, a TCP connection that is cut into segments, and UDP that nobody listens for.
  void send_all_kinds() const {
    const std::string serve =
        "import socket\ns = socket.create_server(('', 4712))\nc, _ = s.accept()\nn = 0\n"
        "while n < 200000:\n  n += len(c.recv(65536))\nc.sendall(b'.')\nc.recv(1)\n";
    const std::string send = "import socket\ns = socket.create_connection(('" + vip_ +
                             "', 4712))\ns.sendall(b'x' * 200000)\ns.recv(1)\n" +
                             "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                             "for i in range(5): u.sendto(b'weir', ('" +
                             vip_ + "', 4799))\n";
    test::Process server({"ip", "netns", "exec", lab_->netns("server"), "python3", "-c", serve});
    EXPECT_TRUE(test::eventually([&] { return in("server", {"ss", "-ltn"}).out.contains(":4712"); }));
    EXPECT_EQ(in("pod", {"ping", "-q", "-c", "10", "-i", "0.02", vip_}).code, 0);
    EXPECT_EQ(in("pod", {"python3", "-c", send}).code, 0);
    EXPECT_EQ(server.wait().code, 0);
    EXPECT_EQ(in("pod", {"ping", "-q", "-c", "3", "-i", "0.1", "-s", "4000", vip_}).code, 0);
  }

  std::filesystem::path folder_;
  std::string file_;
  std::optional<TrafficLab> lab_;
  std::string vip_;
};

/// Several traces at once, which see the same packets.
class Traces {
 public:
  void start(std::vector<std::string> arguments, const char* says) {
    arguments.insert(arguments.begin(), {WEIR_BINARY, "trace"});
    auto& process = processes_.emplace_back(std::make_unique<test::Process>(arguments));
    EXPECT_TRUE(test::eventually([&] { return process->err().contains(says); }, std::chrono::seconds(60)))
        << process->err();
  }
  std::vector<json> finish() {
    std::vector<json> documents;
    for (const auto& process : processes_) process->signal(SIGINT);
    for (const auto& process : processes_) {
      const Outcome outcome = process->wait();
      EXPECT_EQ(outcome.code, 0) << outcome.err;
      documents.push_back(json::parse(outcome.out));
    }
    return documents;
  }

 private:
  std::vector<std::unique_ptr<test::Process>> processes_;
};

constexpr const char* kWatched = "queue_mapping,mark,hash,priority,len,gso_segs,vlan,dev,netns";

json shown(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"show", "--json"});
  const Outcome outcome = test::run_weir(arguments);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return json::parse(outcome.out);
}

TEST_F(TraceShow, CountsPathsAndChangesAsTheKernelDoes) {
  start_nat(lab::Family::v4);
  // A firing that the kernel leaves out, because a program was interrupted, is another one for each trace.
  for (int attempt = 0; attempt < 3; ++attempt) {
    Traces traces;
    const std::vector<std::string> what{"--json", "--netns", lab_->netns("pod"), "icmp or tcp or udp"};
    const auto with = [&](std::vector<std::string> more) {
      more.insert(more.end(), what.begin(), what.end());
      return more;
    };
    traces.start(with({"-o", file_, "--overwrite"}), "tracing at");
    traces.start(with({"--paths"}), "counting paths at");
    traces.start(with({"--watch", kWatched}), "watching at");
    send_all_kinds();
    const std::vector<json> live = traces.finish();
    const json paths = shown({file_, "--paths"});
    const json changes = shown({file_, "--watch", kWatched});
    if (number(live[0], "missed") + number(live[1]["summary"], "missed") + number(live[2]["summary"], "missed") != 0) {
      continue;
    }
    EXPECT_GE(paths_of(live[1]).size(), 8U);
    EXPECT_GE(changes_of(live[2]).size(), 20U);
    EXPECT_EQ(paths_of(paths), paths_of(live[1]));
    EXPECT_EQ(emitted_of(paths), emitted_of(live[1]));
    EXPECT_EQ(number(paths["lost"], "cut_stops"), 0U);
    EXPECT_EQ(number(paths["summary"], "journeys"), number(live[1]["summary"], "journeys"));
    EXPECT_EQ(changes_of(changes), changes_of(live[2]));
    EXPECT_EQ(emitted_of(changes), emitted_of(live[2]));
    return;
  }
  GTEST_SKIP() << "firings were left out in each attempt";
}

TEST_F(TraceShow, CountsTheJourneysThatAreAskedFor) {
  start_nat(lab::Family::v4);
  Traces traces;
  traces.start({"--json", "--netns", lab_->netns("pod"), "-o", file_, "icmp or udp"}, "tracing at");
  send_all_kinds();
  traces.finish();
  const std::uint64_t all = number(shown({file_, "--paths"}), "packets");
  const json pings = shown({file_, "--paths", "icmp[icmptype] == icmp-echo"});
  EXPECT_GE(number(pings, "packets"), 13U);
  EXPECT_LT(number(pings, "packets"), all);
  const json drops = shown({file_, "--paths", "--where", "drop.reason == NO_SOCKET", "udp"});
  EXPECT_EQ(number(drops, "packets"), 5U);
  const std::string page = (folder_ / "paths.html").string();
  const Outcome text = test::run_weir({"show", file_, "--paths", "--html", page, "udp"});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("dropped: NO_SOCKET"));
  std::ifstream stream(page);
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(stream), {}), HasSubstr("--paths: udp"));
  const json latency = shown({file_, "--latency"});
  EXPECT_FALSE(latency["stretches"].empty()) << latency.dump();
}

/// Handle of the rule with this comment, as nft(8) lists it.
std::uint64_t rule_handle(const std::string& netns, const std::string& comment) {
  const Outcome listed = test::run({"ip", "netns", "exec", netns, "nft", "-j", "list", "ruleset"});
  const json document = json::parse(listed.out);
  for (const json& object : document["nftables"]) {
    if (object.contains("rule") && object["rule"].value("comment", "") == comment) return object["rule"]["handle"];
  }
  return 0;
}

TEST_F(TraceShow, NamesTheRulesThatWereRecorded) {
  lab_.emplace("nft-drop");
  ASSERT_TRUE(lab_->ok()) << lab_->why();
  const auto& journeys = lab_->lab().blueprint().journeys;
  const auto dropped =
      std::ranges::find_if(journeys, [](const auto& one) { return one.drop && !one.drop->rule_comment.empty(); });
  ASSERT_NE(dropped, journeys.end());
  const std::string& netns = dropped->drop->netns;
  const std::uint64_t handle = rule_handle(netns, dropped->drop->rule_comment);
  ASSERT_NE(handle, 0U);
  {
    Traces traces;
    traces.start({"--json", "--nft", "--in", netns, "-o", file_, "udp"}, "tracing at");
    // What the recording has so far is flushed every second: wait until some of it was dropped.
    EXPECT_TRUE(test::eventually(
        [&] {
          return test::run_weir({"show", file_, "--where", "nft.verdict == drop"}).out.contains("handle");
        },
        std::chrono::seconds(30)));
    traces.finish();
  }
  const Outcome outcome = test::run_weir({"show", file_, "--json", "--where", "drop.reason == NETFILTER_DROP"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const test::TracedEvents seen = test::read_events(outcome.out);
  test::expect_books(seen);
  std::size_t named = 0;
  for (const auto& [id, events] : seen.journeys) {
    named += std::ranges::any_of(events, [&](const json& event) {
      return !event["nft"].is_null() && event["nft"]["handle"] == handle && event["nft"]["verdict"] == "drop" &&
             event["nft"]["table"].is_string() && event["netns"] == netns;
    });
  }
  EXPECT_GE(seen.journeys.size(), 10U);
  // Those that were under way when the tracing of rules began, or ended, may lack theirs.
  EXPECT_GE(named + 4, seen.journeys.size());
  const std::map<std::string, std::string> says{{"pcapng", "nft_verdict=drop"},
                                                {"json", "\"handle\":" + std::to_string(handle)},
                                                {"perfetto", "handle " + std::to_string(handle) + ": drop"}};
  for (const auto& [format, words] : says) {
    const std::string name = (folder_ / format).string();
    const Outcome converted = test::run_weir({"convert", file_, "--to", format, "-o", name});
    EXPECT_EQ(converted.code, 0) << converted.err;
    std::ifstream stream(name, std::ios::binary);
    EXPECT_THAT(std::string(std::istreambuf_iterator<char>(stream), {}), HasSubstr(words)) << format;
  }
}

}  // namespace
}  // namespace weir
