// `weir netns list`, `watch` and `exec` from the outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "netns/netns.h"
#include "support/leaks.h"
#include "support/process.h"

namespace weir {
namespace {

using nlohmann::json;
using test::Outcome;
using test::run_weir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class NetnsCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    before_ = test::HostSnapshot::take();
    auto made = netns::Netns::create_named(name_);
    ASSERT_TRUE(made) << made.error().message;
    id_ = made->id();
  }
  void TearDown() override {
    if (::geteuid() != 0) return;
    static_cast<void>(netns::Netns::remove_named(name_));
    EXPECT_THAT(before_->leftovers(), IsEmpty());
  }
  std::optional<test::HostSnapshot> before_;
  std::string name_ = "weir-nc" + std::to_string(::getpid());
  std::uint64_t id_ = 0;
};

TEST_F(NetnsCommand, ListsOneAsJson) {
  const Outcome listed = run_weir({"netns", "list", "--netns", name_, "--json"});
  ASSERT_EQ(listed.code, 0) << listed.err;
  const json document = json::parse(listed.out);
  EXPECT_EQ(document["schema"], "weir.netns/1");
  ASSERT_EQ(document["namespaces"].size(), 1U);
  const json& row = document["namespaces"][0];
  EXPECT_EQ(row["id"], id_);
  EXPECT_EQ(row["names"], json::array({name_}));
  EXPECT_EQ(row["pids"], json::array());
  EXPECT_EQ(row["devices"], json::array({"lo"}));
  EXPECT_EQ(row["sockets"], 0);
  EXPECT_TRUE(row["workload"].is_null());
  EXPECT_EQ(row["since_source"], "mount");
  std::string boot_id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot_id;
  EXPECT_EQ(row["boot_id"], boot_id);
  struct stat st {};
  ASSERT_EQ(::stat(("/run/netns/" + name_).c_str(), &st), 0);
  EXPECT_EQ(row["inode"], st.st_ino);
  // Not the whole text: a netlink socket of the run before may be freed late, and counts.
  const auto by_id = run_weir({"netns", "list", "--netns", "id:" + std::to_string(id_), "--json"});
  EXPECT_EQ(nlohmann::json::parse(by_id.out)["namespaces"][0]["id"], id_);
}

TEST_F(NetnsCommand, ListsAllAsText) {
  const Outcome listed = run_weir({"netns", "list", "--deep"});
  ASSERT_EQ(listed.code, 0) << listed.err;
  EXPECT_THAT(listed.out, HasSubstr("init"));
  EXPECT_THAT(listed.out, HasSubstr(name_));
  EXPECT_THAT(listed.out, HasSubstr("weir netns watch"));
}

TEST_F(NetnsCommand, WrongWordsExitWithTwo) {
  struct Case {
    std::vector<std::string> arguments;
    std::string said;
  };
  const std::string close = name_ + "x";
  const std::vector<Case> cases{
      {{"netns", "list", "--netns", close}, "did you mean " + name_},
      {{"netns", "exec", close, "--", "true"}, "did you mean " + name_},
      {{"netns", "exec", "/etc/hostname", "--", "true"}, "is not a network namespace"},
      {{"netns", "exec", "pid:4194304", "--", "true"}, "no process 4194304"},
      {{"netns", "exec", "id:1", "--", "true"}, "no network namespace has id 1"},
      {{"netns", "exec", "id:x", "--", "true"}, "expected a namespace id"},
      {{"netns", "exec", name_}, "COMMAND"},
      {{"netns", "exec", name_, "--", "weir-no-such-program"}, "cannot run 'weir-no-such-program'"},
      {{"netns", "watch", "--for", "10"}, "--for"},
      {{"netns", "watch", "--source", "guess"}, "--source: 'guess'"},
      {{"netns", "lost"}, "did you mean list"},
  };
  for (const Case& wrong : cases) {
    const Outcome outcome = run_weir(wrong.arguments);
    EXPECT_EQ(outcome.code, 2) << wrong.said << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(wrong.said));
    EXPECT_THAT(outcome.out, IsEmpty());
  }
}

TEST_F(NetnsCommand, WithoutRightsExecExitsWithThree) {
  const auto copy = std::filesystem::temp_directory_path() / (name_ + "-weir");
  std::filesystem::copy_file(WEIR_BINARY, copy);
  const Outcome outcome = test::run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy.string(),
                                     "netns", "exec", name_, "--", "true"});
  std::filesystem::remove(copy);
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("root"));
}

TEST_F(NetnsCommand, ExecIsTheCommand) {
  for (const std::string& spec : {name_, "/run/netns/" + name_, "id:" + std::to_string(id_)}) {
    const Outcome ran = run_weir({"netns", "exec", spec, "--", "sh", "-c", "ls /sys/class/net; exit 42"});
    EXPECT_EQ(ran.code, 42) << ran.err;
    EXPECT_EQ(ran.out, "lo\n");  // of this namespace: /sys is its own
  }
  EXPECT_EQ(run_weir({"netns", "exec", name_, "--", "sh", "-c", "kill -TERM $$"}).code, 128 + SIGTERM);
  const Outcome inode = run_weir({"netns", "exec", name_, "--", "readlink", "/proc/self/ns/net"});
  struct stat st {};
  ASSERT_EQ(::stat(("/run/netns/" + name_).c_str(), &st), 0);
  EXPECT_EQ(inode.out, "net:[" + std::to_string(st.st_ino) + "]\n");
  test::Process sleeper({WEIR_BINARY, "netns", "exec", name_, "--", "sleep", "600"});
  const auto runs_sleep = [&] {
    std::string comm;
    std::ifstream("/proc/" + std::to_string(sleeper.pid()) + "/comm") >> comm;
    return comm == "sleep";
  };
  ASSERT_TRUE(test::eventually(runs_sleep));
  const Outcome inhabited = run_weir({"netns", "list", "--netns", name_, "--json"});
  EXPECT_EQ(json::parse(inhabited.out)["namespaces"][0]["processes"][0]["comm"], "sleep");
  EXPECT_EQ(run_weir({"netns", "exec", "pid:" + std::to_string(sleeper.pid()), "--", "true"}).code, 0);
  sleeper.signal(SIGUSR1);
  EXPECT_EQ(sleeper.wait().code, 128 + SIGUSR1);
}

TEST_F(NetnsCommand, ExecKeepsTheHostsOtherMountsAndCoversEtcFiles) {
  const auto folder = std::filesystem::path("/etc/netns") / name_;
  const bool had_parent = std::filesystem::exists("/etc/netns");
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "hostname") << "tenant\n";
  std::ofstream(folder / "weir-absent") << "x\n";
  const Outcome ran = run_weir({"netns", "exec", name_, "--", "cat", "/etc/hostname"});
  const Outcome groups = run_weir({"netns", "exec", name_, "--", "ls", "/sys/fs/cgroup"});
  std::filesystem::remove_all(folder);
  if (!had_parent) std::filesystem::remove("/etc/netns");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "tenant\n");
  EXPECT_THAT(ran.err, HasSubstr("there is no /etc/weir-absent to cover"));
  EXPECT_EQ(groups.out, test::run({"ls", "/sys/fs/cgroup"}).out);
}

TEST_F(NetnsCommand, WatchTellsWhatComesAndGoes) {
  const std::string fresh = name_ + "-fresh";
  for (const char* source : {"mount-events", "mountinfo", "directories"}) {
    test::Process watch({WEIR_BINARY, "netns", "watch", "--json", "--source", source});
    // What exists is told last of all that happens before changes are.
    if (!test::eventually([&] { return watch.out().find("\"" + name_ + "\"") != std::string::npos; })) {
      EXPECT_THAT(watch.err(), HasSubstr("mount events")) << source;  // a kernel without them
      continue;
    }
    const auto made = netns::Netns::create_named(fresh);
    ASSERT_TRUE(made);
    const auto told = [&](const char* event) {
      std::istringstream lines(watch.out());
      for (std::string line; std::getline(lines, line);) {
        if (line.back() != '}') continue;
        const json row = json::parse(line);
        EXPECT_EQ(row["schema"], "weir.netns_event/1");
        if (row["event"] == event && row["name"] == fresh) return row["id"] == made->id();
      }
      return false;
    };
    EXPECT_TRUE(test::eventually([&] { return told("ready"); })) << source;
    ASSERT_TRUE(netns::Netns::remove_named(fresh));
    EXPECT_TRUE(test::eventually([&] { return told("gone"); })) << source;
    watch.signal(SIGINT);
    EXPECT_EQ(watch.wait().code, 0);
  }
}

TEST_F(NetnsCommand, WatchEndsAfterItsTime) {
  const Outcome watched = run_weir({"netns", "watch", "--for", "100ms"});
  EXPECT_EQ(watched.code, 0) << watched.err;
  EXPECT_THAT(watched.out, HasSubstr("(was there)"));
}

}  // namespace
}  // namespace weir
