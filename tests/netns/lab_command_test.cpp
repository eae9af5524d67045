// `weir lab` from the outside: what it prints, how it fails, and that nothing stays, however it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "netns/netns.h"
#include "support/lab.h"
#include "support/leaks.h"
#include "support/process.h"

namespace weir {
namespace {

using nlohmann::json;
using test::eventually;
using test::HostSnapshot;
using test::Outcome;
using test::Process;
using test::run_weir;
using test::unique_prefix;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

bool netns_exists(const std::string& name) {
  return std::filesystem::exists("/run/netns/" + name);
}

/// A running `weir lab run` whose command has been started, which it shows by making a file.
class RunningLab {
 public:
  explicit RunningLab(const std::string& scenario)
      : prefix_(unique_prefix()),
        mark_(std::filesystem::temp_directory_path() / (prefix_ + "mark")),
        process_({WEIR_BINARY, "lab", "run", scenario, "--prefix", prefix_, "--", "sh", "-c",
                  "echo $WEIR_LAB >'" + mark_.string() + "'; exec sleep 600"}) {
    started_ = eventually([&] { return std::filesystem::exists(mark_); }, std::chrono::seconds(20));
  }
  ~RunningLab() { std::filesystem::remove(mark_); }
  [[nodiscard]] bool started() const { return started_; }
  [[nodiscard]] const std::string& prefix() const { return prefix_; }
  [[nodiscard]] Process& process() { return process_; }

 private:
  std::string prefix_;
  std::filesystem::path mark_;
  Process process_;
  bool started_ = false;
};

TEST(LabCommand, ListNamesEveryScenario) {
  const Outcome listed = run_weir({"lab", "list", "--json"});
  ASSERT_EQ(listed.code, 0) << listed.err;
  const json document = json::parse(listed.out);
  EXPECT_EQ(document["schema"], "weir.lab_list/1");
  ASSERT_EQ(document["scenarios"].size(), lab::scenarios().size());
  for (const json& row : document["scenarios"]) {
    EXPECT_FALSE(row["truth"].get<std::string>().empty());
    EXPECT_THAT(run_weir({"lab", "list"}).out, HasSubstr(row["name"].get<std::string>()));
  }
}

TEST(LabCommand, WrongWordsExitWithTwoAndOneClearLine) {
  struct Case {
    std::vector<std::string> arguments;
    const char* said;
  };
  const std::vector<Case> cases{
      {{"lab", "up", "tx-collapse-tab"}, "did you mean tx-collapse-tap"},
      {{"lab", "run", "healty"}, "healthy"},
      {{"lab", "up", "healthy", "--queues", "1"}, "--queues 1: expected 2 to 64"},
      {{"lab", "up", "healthy", "--queues", "many"}, "--queues"},
      {{"lab", "up", "healthy", "--family", "5"}, "--family '5': expected one of 4, 6"},
      {{"lab", "up", "healthy", "--path", "flat"}, "--path 'flat'"},
      {{"lab", "up", "healthy", "--l4", "icmp"}, "--l4 'icmp'"},
      {{"lab", "up", "healthy", "--mq-tbf", "quick"}, "--mq-tbf: 'quick' is not a rate"},
      {{"lab", "up", "healthy", "--prefix", "a/b"}, "--prefix 'a/b'"},
      {{"lab", "run", "healthy", "--for", "10"}, "--for: '10' is not a duration"},
      {{"lab", "run", "healthy", "--for", "0s"}, "--for 0s"},
      {{"lab", "run", "few-flows", "--queues", "2"}, "--queues 2"},
      {{"lab", "up"}, "scenario"},
  };
  for (const Case& wrong : cases) {
    const Outcome outcome = run_weir(wrong.arguments);
    EXPECT_EQ(outcome.code, 2) << wrong.said << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(wrong.said));
    EXPECT_THAT(outcome.out, IsEmpty());
  }
}

TEST(LabCommand, WithoutRootExitsWithThree) {
  WEIR_NEED_ROOT();
  // A copy where everybody may run it.
  const auto copy = std::filesystem::temp_directory_path() / (unique_prefix() + "weir");
  std::filesystem::copy_file(WEIR_BINARY, copy);
  const Outcome outcome =
      test::run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy.string(), "lab", "up", "healthy"});
  std::filesystem::remove(copy);
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("root"));
}

TEST(LabCommand, UpKeepsAndDownRemoves) {
  WEIR_NEED_ROOT();
  const HostSnapshot before = HostSnapshot::take();
  const std::string prefix = unique_prefix();
  const Outcome up = run_weir({"lab", "up", "tx-collapse-pod-xps", "--prefix", prefix, "--json"});
  ASSERT_EQ(up.code, 0) << up.err;
  const json document = json::parse(up.out);
  EXPECT_EQ(document["schema"], "weir.lab/1");
  EXPECT_EQ(document["namespaces"]["host"], prefix + "host");
  EXPECT_EQ(document["expect"]["culprit"], prefix + "host/pv0");
  EXPECT_TRUE(netns_exists(prefix + "pod"));

  const Outcome again = run_weir({"lab", "run", "healthy", "--prefix", prefix, "--for", "1s"});
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.err, HasSubstr("taken by tx-collapse-pod-xps"));
  EXPECT_EQ(run_weir({"lab", "down", "healthy", "--prefix", prefix}).code, 1);
  EXPECT_TRUE(netns_exists(prefix + "host"));

  const Outcome down = run_weir({"lab", "down", "--prefix", prefix});
  EXPECT_EQ(down.code, 0) << down.err;
  EXPECT_THAT(before.leftovers(), IsEmpty());
  EXPECT_THAT(run_weir({"lab", "down", "--prefix", prefix}).err, HasSubstr("no lab under the prefix"));
}

TEST(LabCommand, LabsOfDifferentPrefixesStandSideBySide) {
  WEIR_NEED_ROOT();
  const HostSnapshot before = HostSnapshot::take();
  test::TrafficLab first("healthy");
  test::TrafficLab second("tx-collapse-tap");
  ASSERT_TRUE(first.ok()) << first.why();
  ASSERT_TRUE(second.ok()) << second.why();
  EXPECT_NE(first.netns("host"), second.netns("host"));
  ASSERT_TRUE(first.lab().down());
  EXPECT_TRUE(second.lab().traffic_alive());
  ASSERT_TRUE(second.lab().down());
}

TEST(LabCommand, NamespacesOfOthersAreNeverTouched) {
  WEIR_NEED_ROOT();
  const std::string prefix = unique_prefix();
  const auto foreign = netns::Netns::create_named(prefix + "wire");
  ASSERT_TRUE(foreign) << foreign.error().message;
  const Outcome up = run_weir({"lab", "up", "healthy", "--prefix", prefix});
  EXPECT_EQ(up.code, 1);
  EXPECT_THAT(up.err, HasSubstr(prefix + "wire' exists already"));
  EXPECT_FALSE(netns_exists(prefix + "host"));
  EXPECT_EQ(netns::Netns::open(prefix + "wire")->id(), foreign->id());
  ASSERT_TRUE(netns::Netns::remove_named(prefix + "wire"));

  // A name of the lab that somebody has given to another namespace since.
  ASSERT_EQ(run_weir({"lab", "up", "healthy", "--prefix", prefix}).code, 0);
  ASSERT_TRUE(netns::Netns::remove_named(prefix + "wire"));
  ASSERT_TRUE(netns::Netns::create_named(prefix + "wire"));
  EXPECT_EQ(run_weir({"lab", "down", "--prefix", prefix}).code, 0);
  EXPECT_TRUE(netns_exists(prefix + "wire"));
  EXPECT_FALSE(netns_exists(prefix + "host"));
  ASSERT_TRUE(netns::Netns::remove_named(prefix + "wire"));
}

TEST(LabCommand, RunHandsTheCommandItsLabAndReturnsItsExitCode) {
  WEIR_NEED_ROOT();
  const HostSnapshot before = HostSnapshot::take();
  const std::string prefix = unique_prefix();
  const Outcome ran =
      run_weir({"lab", "run", "healthy", "--prefix", prefix, "--", "sh", "-c", "cat $WEIR_LAB; exit 42"});
  EXPECT_EQ(ran.code, 42) << ran.err;
  EXPECT_EQ(json::parse(ran.out)["scenario"], "healthy");  // standard output is the command's alone
  const Outcome options = run_weir({"lab", "run", "healthy", "--prefix", prefix, "--", "echo", "--queues", "doctor"});
  EXPECT_EQ(options.out, "--queues doctor\n");
  const Outcome killed = run_weir({"lab", "run", "healthy", "--prefix", prefix, "--", "sh", "-c", "kill -TERM $$"});
  EXPECT_EQ(killed.code, 128 + SIGTERM);
  const Outcome unknown = run_weir({"lab", "run", "healthy", "--prefix", prefix, "--", "no-such-program"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("cannot run 'no-such-program'"));
  const Outcome slow = run_weir({"lab", "run", "healthy", "--prefix", prefix, "--for", "300ms", "--", "sleep", "60"});
  EXPECT_EQ(slow.code, 1);
  EXPECT_THAT(slow.err, HasSubstr("still ran after 300 ms"));
  EXPECT_THAT(before.leftovers(), IsEmpty());
}

TEST(LabCommand, RunWithoutCommandReports) {
  WEIR_NEED_ROOT();
  const Outcome ran =
      run_weir({"lab", "run", "tx-collapse-tap", "--prefix", unique_prefix(), "--for", "500ms", "--json"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json report = json::parse(ran.out);
  EXPECT_EQ(report["schema"], "weir.lab_report/1");
  EXPECT_GT(report["delivered"]["packets"], 1000);
  EXPECT_EQ(report["senders"][0]["label"], "tap0");
}

TEST(LabCommand, ASecondLabOfTheSamePrefixIsToldWhoHasIt) {
  WEIR_NEED_ROOT();
  RunningLab running("healthy");
  ASSERT_TRUE(running.started()) << running.process().err();
  for (const char* verb : {"up", "run"}) {
    const Outcome second = run_weir({"lab", verb, "healthy", "--prefix", running.prefix()});
    EXPECT_EQ(second.code, 1);
    EXPECT_THAT(second.err, HasSubstr("in use by process " + std::to_string(running.process().pid())));
  }
  EXPECT_EQ(run_weir({"lab", "down", "--prefix", running.prefix()}).code, 1);
  EXPECT_TRUE(netns_exists(running.prefix() + "host"));
  running.process().signal(SIGTERM);
  running.process().wait();
}

TEST(LabCommand, SignalsEndItInOrder) {
  WEIR_NEED_ROOT();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const HostSnapshot before = HostSnapshot::take();
    RunningLab running("tx-collapse-tap");
    ASSERT_TRUE(running.started()) << running.process().err();
    running.process().signal(signal);
    EXPECT_EQ(running.process().wait().code, 128 + signal);  // that of the command, which got the signal too
    EXPECT_THAT(before.leftovers(), IsEmpty());
  }
}

TEST(LabCommand, SigintWhileTrafficFlowsPrintsTheReport) {
  WEIR_NEED_ROOT();
  const HostSnapshot before = HostSnapshot::take();
  Process process({WEIR_BINARY, "lab", "run", "healthy", "--prefix", unique_prefix(), "--for", "10m", "--json"});
  ASSERT_TRUE(eventually([&] { return process.err().find("traffic flows") != std::string::npos; }));
  process.signal(SIGINT);
  const Outcome ended = process.wait();
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(json::parse(ended.out)["schema"], "weir.lab_report/1");
  EXPECT_THAT(before.leftovers(), IsEmpty());
}

/// Processes inside any namespace of a prefix.
std::size_t inhabitants(const std::string& prefix) {
  std::size_t count = 0;
  const auto entries = netns::list();
  for (const netns::Entry& entry : *entries) {
    if (entry.display().starts_with(prefix)) count += entry.pids.size();
  }
  return count;
}

TEST(LabCommand, KilledLabIsCleanedByDown) {
  WEIR_NEED_ROOT();
  const HostSnapshot before = HostSnapshot::take();
  RunningLab running("tx-collapse-injected");
  ASSERT_TRUE(running.started()) << running.process().err();
  EXPECT_GT(inhabitants(running.prefix()), 0U);
  running.process().signal(SIGKILL);
  running.process().wait();
  EXPECT_TRUE(eventually([&] { return inhabitants(running.prefix()) == 0; })) << "generators outlive the lab";
  const Outcome down = run_weir({"lab", "down", "--prefix", running.prefix()});
  EXPECT_EQ(down.code, 0) << down.err;
  EXPECT_THAT(before.leftovers(), IsEmpty());
}

TEST(LabCommand, KilledLabIsCleanedByTheNextOne) {
  WEIR_NEED_ROOT();
  const HostSnapshot before = HostSnapshot::take();
  RunningLab running("tx-collapse-tap");
  ASSERT_TRUE(running.started()) << running.process().err();
  running.process().signal(SIGKILL);
  running.process().wait();
  const Outcome next = run_weir({"lab", "run", "healthy", "--prefix", running.prefix(), "--", "true"});
  EXPECT_EQ(next.code, 0) << next.err;
  EXPECT_THAT(before.leftovers(), IsEmpty());
}

TEST(LabCommand, KilledAtAnyMomentItIsCleaned) {
  WEIR_NEED_ROOT();
  const HostSnapshot before = HostSnapshot::take();
  const std::string prefix = unique_prefix();
  for (int moment_ms = 0; moment_ms < 120; moment_ms += 6) {
    Process lab({WEIR_BINARY, "lab", "run", "tx-collapse-injected", "--prefix", prefix, "--for", "10m"});
    const auto moment = std::chrono::steady_clock::now() + std::chrono::milliseconds(moment_ms);
    ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() >= moment; }));
    lab.signal(SIGKILL);
    lab.wait();
    // 1: it had not begun.
    EXPECT_LE(run_weir({"lab", "down", "--prefix", prefix}).code, 1);
    EXPECT_FALSE(netns_exists(prefix + "host"));
  }
  EXPECT_THAT(before.leftovers(), IsEmpty());
}

TEST(LabCommand, ADamagedRecordIsNamed) {
  WEIR_NEED_ROOT();
  const std::string prefix = unique_prefix();
  std::filesystem::create_directories("/run/weir/lab");
  std::ofstream(lab::record_path(prefix)) << "{\"schema\":";
  const Outcome up = run_weir({"lab", "up", "healthy", "--prefix", prefix});
  EXPECT_EQ(up.code, 1);
  EXPECT_THAT(up.err, HasSubstr(lab::record_path(prefix) + " is damaged"));
  std::filesystem::remove(lab::record_path(prefix));
  EXPECT_EQ(run_weir({"lab", "run", "healthy", "--prefix", prefix, "--", "true"}).code, 0);
}

}  // namespace
}  // namespace weir
