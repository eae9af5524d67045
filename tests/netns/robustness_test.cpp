// The commands in bad places and with bad input: what they watch vanishes, two of them run at once, signals come in the
// middle, the user is not root, the words are wrong. What they print, how they exit, and that nothing stays behind.
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
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
using test::TrafficLab;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

/// Links among the descriptors of a process. The data plane's are there when it watches, the path follower's when it
/// follows: with what `weir capabilities` tries closed again, a few links are the data plane's.
std::size_t links_of(pid_t pid) {
  std::size_t links = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", error)) {
    std::error_code gone;
    if (fs::read_symlink(entry.path(), gone) == "anon_inode:bpf_link") ++links;
  }
  return links;
}

/// A weir that has begun to watch: its programs are attached. What tells them from the probing of capabilities is that
/// probing holds one link at a time.
class WatchingWeir : public Process {
 public:
  explicit WatchingWeir(std::vector<std::string> arguments, std::size_t links = 2) : Process(with_binary(arguments)) {
    watches_ = eventually([&] { return links_of(pid()) >= links; }, std::chrono::seconds(20));
  }
  [[nodiscard]] bool watches() const { return watches_; }

 private:
  static std::vector<std::string> with_binary(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), WEIR_BINARY);
    return arguments;
  }
  bool watches_ = false;
};

/// A device of a JSON list, by name.
json device_of(const json& devices, const std::string& name) {
  for (const json& device : devices) {
    if (device.at("dev") == name) return device;
  }
  return nullptr;
}

bool vanished(const json& document, const std::string& device) {
  const std::string schema = document.at("schema");
  if (schema == "weir.doctor/1") return !device_of(document.at("vanished"), device).is_null();
  const json row = device_of(document.at(schema == "weir.queues/1" ? "devices" : "queues"), device);
  return !row.is_null() && row.at("vanished") == true;
}

json parsed(const Outcome& outcome) {
  json document = json::parse(outcome.out, nullptr, false);
  EXPECT_FALSE(document.is_discarded()) << outcome.out << outcome.err;
  return document;
}

void delete_device(const TrafficLab& lab) {
  ASSERT_EQ(test::run({"ip", "-n", lab.netns("host"), "link", "del", "nic0"}).code, 0);
}

/// The lab's processes keep the namespaces alive: without them and without its names it is gone.
void delete_namespaces(TrafficLab& lab) {
  ASSERT_TRUE(lab.lab().down());
}

std::vector<std::vector<std::string>> watching_commands(const TrafficLab& lab) {
  return {{"doctor", "--netns", lab.netns("host"), "--for", "3s", "--json"},
          {"queues", "show", lab.uplink(), "--for", "2s", "--json"},
          {"queues", "explain", lab.uplink(), "--for", "2s", "--json"}};
}

/// All three commands watch the same lab at once while what they watch goes away.
void expect_survival(const std::function<void(TrafficLab&)>& remove) {
  const HostSnapshot before = HostSnapshot::take();
  {
    TrafficLab lab("tx-collapse-injected");
    ASSERT_TRUE(lab.ok()) << lab.why();
    std::vector<std::unique_ptr<WatchingWeir>> watching;
    for (const auto& command : watching_commands(lab)) watching.push_back(std::make_unique<WatchingWeir>(command));
    for (const auto& weir : watching) ASSERT_TRUE(weir->watches()) << weir->err();
    remove(lab);
    for (const auto& weir : watching) {
      const Outcome outcome = weir->wait();
      EXPECT_EQ(outcome.code, 0) << outcome.err;
      const json document = parsed(outcome);
      EXPECT_TRUE(vanished(document, "nic0")) << document.dump(1);
    }
  }
  EXPECT_THAT(before.leftovers(), IsEmpty());
}

TEST(Vanishing, DeviceUnderAllCommands) {
  WEIR_NEED_ROOT();
  expect_survival([](TrafficLab& lab) { delete_device(lab); });
}

TEST(Vanishing, NamespaceUnderAllCommands) {
  WEIR_NEED_ROOT();
  expect_survival([](TrafficLab& lab) { delete_namespaces(lab); });
}

TEST(Vanishing, TextSaysSo) {
  WEIR_NEED_ROOT();
  TrafficLab lab("tx-collapse-tap");
  ASSERT_TRUE(lab.ok()) << lab.why();
  WatchingWeir doctor({"doctor", "--netns", lab.netns("host"), "--for", "1s"});
  WatchingWeir show({"queues", "show", lab.uplink(), "--for", "1s"});
  ASSERT_TRUE(doctor.watches() && show.watches()) << doctor.err() << show.err();
  delete_device(lab);
  EXPECT_THAT(doctor.wait().out, HasSubstr("Vanished meanwhile: " + lab.uplink()));
  EXPECT_THAT(show.wait().out, HasSubstr("went away meanwhile"));
}

/// Documents of a stream, one a line; the last line may not be whole yet.
std::vector<json> documents(const std::string& text) {
  std::vector<json> all;
  for (std::size_t start = 0, end = 0; (end = text.find('\n', start)) != std::string::npos; start = end + 1) {
    all.push_back(json::parse(text.substr(start, end - start), nullptr, false));
    EXPECT_FALSE(all.back().is_discarded()) << text.substr(start, end - start);
  }
  return all;
}

TEST(Vanishing, LiveViewGoesOnAndSeesItComeBack) {
  WEIR_NEED_ROOT();
  TrafficLab lab("healthy");
  ASSERT_TRUE(lab.ok()) << lab.why();
  WatchingWeir watch({"queues", "show", lab.uplink(), "--watch", "--for", "300ms", "--json"});
  ASSERT_TRUE(watch.watches()) << watch.err();
  const auto latest = [&](const auto& condition) {
    return eventually([&] {
      const std::vector<json> seen = documents(watch.out());
      return !seen.empty() && condition(seen.back().at("devices"));
    });
  };
  const auto there = [](const json& devices) { return !devices.empty() && devices.back().at("vanished") == false; };
  ASSERT_TRUE(latest(there)) << watch.out() << watch.err();
  delete_device(lab);
  EXPECT_TRUE(latest([](const json& devices) { return devices.empty(); })) << watch.out() << watch.err();
  ASSERT_EQ(test::run({"ip", "-n", lab.netns("host"), "link", "add", "nic0", "type", "veth"}).code, 0);
  EXPECT_TRUE(latest(there)) << watch.out() << watch.err();
  watch.signal(SIGINT);
  const Outcome outcome = watch.wait();
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<json> all = documents(outcome.out);
  EXPECT_TRUE(std::ranges::any_of(all, [](const json& document) { return vanished(document, "nic0"); }));
}

TEST(Together, EveryWeirIsRight) {
  WEIR_NEED_ROOT();
  const HostSnapshot before = HostSnapshot::take();
  {
    TrafficLab lab("tx-collapse-injected");
    ASSERT_TRUE(lab.ok()) << lab.why();
    const std::vector<std::string> explain{"queues", "explain", lab.uplink(), "--for", "3s", "--json"};
    WatchingWeir first(explain);
    WatchingWeir second(explain);
    WatchingWeir doctor({"doctor", "--netns", lab.netns("host"), "--for", "4s", "--json"});
    ASSERT_TRUE(first.watches() && second.watches() && doctor.watches());
    for (WatchingWeir* weir : {&first, &second, &doctor}) {
      const Outcome outcome = weir->wait();
      ASSERT_EQ(outcome.code, 0) << outcome.err;
      const json document = parsed(outcome);
      ASSERT_EQ(document.at("findings").size(), 1U) << document.dump(1);
      const json& finding = document.at("findings")[0];
      EXPECT_EQ(finding.at("cause"), "recorded-rx-queue");
      EXPECT_THAT(finding.at("changed_at").get<std::string>(), HasSubstr("between ")) << finding.dump(1);
      EXPECT_EQ(lab.netns("host") + "/" + finding.at("culprits")[0].at("name").get<std::string>(),
                lab.expect().culprit);
    }
  }
  EXPECT_THAT(before.leftovers(), IsEmpty());
}

TEST(Signals, EndTheWatchingAndPrintWhatWasSeen) {
  WEIR_NEED_ROOT();
  TrafficLab lab("healthy");
  ASSERT_TRUE(lab.ok()) << lab.why();
  for (const int signal : {SIGINT, SIGTERM}) {
    for (std::vector<std::string> command : watching_commands(lab)) {
      command[command.size() - 2] = "1h";
      const HostSnapshot before = HostSnapshot::take();
      WatchingWeir weir(command);
      ASSERT_TRUE(weir.watches()) << weir.err();
      weir.signal(signal);
      const Outcome outcome = weir.wait(std::chrono::seconds(5));
      EXPECT_EQ(outcome.code, 0) << outcome.err;
      EXPECT_TRUE(parsed(outcome).at("schema").get<std::string>().starts_with("weir.")) << outcome.out;
      EXPECT_THAT(before.leftovers(), IsEmpty());
    }
  }
}

TEST(Signals, AFixThatIsInterruptedBeforeItIsAppliedChangesNothing) {
  WEIR_NEED_ROOT();
  TrafficLab lab("tx-collapse-tap");
  ASSERT_TRUE(lab.ok()) << lab.why();
  const HostSnapshot before = HostSnapshot::take();
  const std::string shown = test::run({"tc", "-n", lab.netns("host"), "qdisc", "show"}).out;
  WatchingWeir fix({"queues", "fix", lab.uplink(), "--apply", "--for", "1h"});
  ASSERT_TRUE(fix.watches()) << fix.err();
  const auto delivered = [&] { return lab.lab().report()->delivered_packets; };
  const std::uint64_t enough = delivered() + 3000;  // for a plan, which would be applied
  ASSERT_TRUE(eventually([&] { return delivered() > enough; }));
  fix.signal(SIGINT);
  const Outcome outcome = fix.wait(std::chrono::seconds(5));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("nothing is changed"));
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_EQ(test::run({"tc", "-n", lab.netns("host"), "qdisc", "show"}).out, shown);
  EXPECT_THAT(before.leftovers(), IsEmpty());
}

TEST(Signals, KilledForGoodNothingStays) {
  WEIR_NEED_ROOT();
  TrafficLab lab("tx-collapse-injected");
  ASSERT_TRUE(lab.ok()) << lab.why();
  const HostSnapshot before = HostSnapshot::take();
  // The second one follows from the start: tracepoints, and netfilter and tcx links in the namespace.
  WatchingWeir doctor({"doctor", "--for", "1h"});
  WatchingWeir explain({"queues", "explain", lab.uplink(), "--for", "1h"}, 12);
  ASSERT_TRUE(doctor.watches() && explain.watches()) << doctor.err() << explain.err();
  for (WatchingWeir* weir : {&doctor, &explain}) {
    weir->signal(SIGKILL);
    EXPECT_EQ(weir->wait().code, 128 + SIGKILL);
  }
  EXPECT_THAT(before.leftovers(), IsEmpty());
}

/// A folder that everybody may read, gone at the end.
class PublicFolder {
 public:
  PublicFolder() : path_(fs::temp_directory_path() / (test::unique_prefix() + "public")) {
    fs::create_directory(path_);
    fs::permissions(path_, fs::perms(0755));
  }
  ~PublicFolder() { fs::remove_all(path_); }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ / name; }
  [[nodiscard]] std::string file(const std::string& name, std::string_view contents) const {
    std::ofstream(path_ / name) << contents;
    return path_ / name;
  }

 private:
  fs::path path_;
};

/// "weir: one line", and at most a hint below it.
void expect_clear_error(const Outcome& outcome, const std::string& what) {
  EXPECT_THAT(outcome.out, IsEmpty()) << what;
  EXPECT_THAT(outcome.err, ::testing::StartsWith("weir: ")) << what;
  const auto lines = std::ranges::count(outcome.err, '\n');
  EXPECT_TRUE(lines == 1 || lines == 2) << what << "\n" << outcome.err;
}

TEST(BadPlaces, WithoutRootEveryCommandSaysWhatIsMissing) {
  WEIR_NEED_ROOT();
  const PublicFolder folder;
  const std::string copy = folder.file("weir");
  fs::copy_file(WEIR_BINARY, copy);
  const std::vector<std::vector<std::string>> commands{{"doctor"},
                                                       {"queues", "show"},
                                                       {"queues", "explain", "lo"},
                                                       {"queues", "fix", "lo"},
                                                       {"queues", "fix", "lo", "--apply"},
                                                       {"capabilities"},
                                                       {"lab", "up", "healthy"},
                                                       {"lab", "run", "healthy"},
                                                       {"lab", "down"}};
  for (const auto& command : commands) {
    std::vector<std::string> words{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy};
    words.insert(words.end(), command.begin(), command.end());
    const Outcome outcome = test::run(words);
    EXPECT_EQ(outcome.code, 3) << command[0] << outcome.err;
    expect_clear_error(outcome, command[0]);
    EXPECT_THAT(outcome.err, HasSubstr("sudo")) << command[0];
  }
}

/// Type information that is valid and has none of the types that are needed.
std::string tiny_btf() {
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__new_empty(), &btf__free);
  btf__add_int(types.get(), "int", 4, BTF_INT_SIGNED);
  __u32 size = 0;
  const void* data = btf__raw_data(types.get(), &size);
  return {static_cast<const char*>(data), size};
}

TEST(BadPlaces, TypeInformationThatIsNone) {
  WEIR_NEED_ROOT();
  const PublicFolder folder;
  const std::string text = folder.file("text", "not type information\n");
  const std::string tiny = folder.file("tiny.btf", tiny_btf());
  struct Case {
    std::string file;
    int code;
    std::string said;
  };
  const std::vector<Case> cases{{folder.file("none"), 2, folder.file("none")},
                                {"/tmp", 2, "directory"},
                                {text, 3, "no btf: reading " + text},
                                {tiny, 3, "has no btf_trace_net_dev_start_xmit"}};
  const std::vector<std::vector<std::string>> commands{
      {"doctor"}, {"queues", "show"}, {"queues", "explain", "lo"}, {"queues", "fix", "lo"}};
  for (std::vector<std::string> command : commands) {
    command.insert(command.end(), {"--for", "100ms", "--btf", ""});
    for (const Case& wrong : cases) {
      command.back() = wrong.file;
      const Outcome outcome = run_weir(command);
      EXPECT_EQ(outcome.code, wrong.code) << wrong.said << outcome.err;
      expect_clear_error(outcome, wrong.said);
      EXPECT_THAT(outcome.err, HasSubstr(wrong.said));
      EXPECT_THAT(outcome.err, HasSubstr("--btf"));
    }
  }
  // It is the command that reports what is missing: a kernel without is an answer.
  const Outcome capabilities = run_weir({"capabilities", "--json", "--btf", tiny});
  EXPECT_EQ(capabilities.code, 0) << capabilities.err;
  const json rungs = parsed(capabilities).at("rungs");
  const auto rung = std::ranges::find_if(rungs, [](const json& one) { return one.at("name") == "tp_btf"; });
  ASSERT_NE(rung, rungs.end());
  EXPECT_EQ(rung->at("available"), false);
}

TEST(BadPlaces, AFullDiskIsAFailure) {
  WEIR_NEED_ROOT();
  for (const char* command : {"capabilities", "capabilities --json", "queues show lo --for 100ms", "lab list",
                              "doctor --netns init --for 400ms --json"}) {
    const Outcome outcome = test::run({"sh", "-c", std::string(WEIR_BINARY) + " " + command + " >/dev/full"});
    EXPECT_EQ(outcome.code, 1) << command;
    expect_clear_error(outcome, command);
  }
}

struct Wrong {
  std::vector<std::string> words;
  int code;
  const char* said;
};

TEST(BadWords, ExitWithTwoAndOneClearLine) {
  WEIR_NEED_ROOT();
  const std::vector<Wrong> table{
      {{"doctr"}, 2, "did you mean doctor"},
      {{""}, 2, "'' is no command"},
      {{"queues"}, 2, "show, explain, fix, undo"},
      {{"queues", "shwo"}, 2, "did you mean show"},
      {{"--frobnicate"}, 2, "--frobnicate"},
      {{"doctor", "eth0"}, 2, "eth0"},
      {{"doctor", "--frobnicate"}, 2, "--frobnicate"},
      {{"doctor", "--for", "10"}, 2, "'10' is not a duration"},
      {{"doctor", "--for", ""}, 2, "'' is not a duration"},
      {{"doctor", "--for", "-5s"}, 2, "'-5s' is not a duration"},
      {{"doctor", "--for", "5 s"}, 2, "'5 s' is not a duration"},
      {{"doctor", "--for", "nans"}, 2, "'nans' is not a duration"},
      {{"doctor", "--for", "99999999999999999999h"}, 2, "is not a duration"},
      {{"doctor", "--for", "0s"}, 2, "between 100ms and 24h"},
      {{"doctor", "--for", "25h"}, 2, "between 100ms and 24h"},
      {{"doctor", "--for"}, 2, "--for"},
      {{"doctor", "--fail-on", "dire"}, 2, "info, warning, critical"},
      {{"doctor", "--netns", ""}, 2, "--netns"},
      {{"doctor", "--netns", "no-such-ns"}, 2, "no network namespace \"no-such-ns\""},
      {{"doctor", "--netns", "/etc/passwd"}, 2, "/etc/passwd is not a network namespace"},
      {{"doctor", "--netns", "/no/such"}, 2, "/no/such"},
      {{"doctor", "--netns", "pid:0"}, 2, "pid:0"},
      {{"doctor", "--netns", "pid:4194304"}, 2, "no process 4194304"},
      {{"doctor", "--netns", "id:1"}, 2, "no network namespace has id 1"},
      {{"doctor", "--netns", "../init"}, 2, "../init"},
      {{"doctor", "--dev", ""}, 2, "--dev"},
      {{"doctor", "--dev", "no-such-dev"}, 2, "no device 'no-such-dev'"},
      {{"doctor", "--dev", "init/lo", "--netns", "all"}, 2, "--netns names another"},
      {{"queues", "show", ""}, 2, "DEV"},
      {{"queues", "show", "init/"}, 2, "'init/' names no device"},
      {{"queues", "show", "/lo"}, 2, "'/lo' names no namespace"},
      {{"queues", "show", "no-such-ns/lo"}, 2, "no network namespace"},
      {{"queues", "show", "init/lo0"}, 2, "no device 'lo0' in namespace init"},
      {{"queues", "show", "lo", "lo"}, 2, "lo"},
      {{"queues", "show", "--for", "50ms"}, 2, "between 100ms and 24h"},
      {{"queues", "explain"}, 2, "DEV"},
      {{"queues", "explain", ""}, 2, "DEV"},
      {{"queues", "explain", "init/"}, 2, "names no device"},
      {{"queues", "fix"}, 2, "DEV"},
      {{"queues", "fix", ""}, 2, "DEV"},
      {{"queues", "fix", "lo", "--at", "sideways"}, 2, "egress,ingress"},
      {{"queues", "fix", "no-such-dev", "--apply"}, 2, "no device 'no-such-dev'"},
      {{"queues", "undo"}, 2, "DEV"},
      {{"queues", "undo", ""}, 2, "DEV"},
      {{"queues", "undo", "no-such-dev", "--journal", "/no/such"}, 1, "nothing of Weir's to undo on no-such-dev"},
      {{"capabilities", "all"}, 2, "all"},
      {{"lab"}, 2, "list, up, run, down"},
      {{"lab", "up", ""}, 2, "no scenario ''"},
      {{"lab", "down", "--prefix", "no-such-"}, 1, "no lab under the prefix 'no-such-'"},
  };
  for (const Wrong& wrong : table) {
    std::string line;
    for (const std::string& word : wrong.words) line += (line.empty() ? "'" : " '") + word + "'";
    const Outcome outcome = run_weir(wrong.words);
    EXPECT_EQ(outcome.code, wrong.code) << line << "\n" << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(wrong.said)) << line;
    expect_clear_error(outcome, line);
  }
}

}  // namespace
}  // namespace weir
