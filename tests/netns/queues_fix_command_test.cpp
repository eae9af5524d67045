// weir queues fix and undo, as a person runs them, on the lab's collapse.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "sys/process.h"

namespace weir {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class QueuesFixCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    std::string pattern = (fs::temp_directory_path() / "weir-fix-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override {
    if (!directory_.empty()) fs::remove_all(directory_);
  }
  /// What a shell script prints while the lab's traffic flows. It has $W (weir), $H (host namespace), $J (journal) and
  /// a function `picture` of all that tc and bpftool show.
  std::string in_lab(const std::string& scenario, const std::string& script) const {
    const std::string prefix = fmt::format("wqf{}-", ::getpid() % 10000);
    const std::string head = fmt::format(
        "W='{}'; H={}host; J={}/journal;"
        "picture() {{ tc -n $H qdisc show; tc -n $H filter show dev nic0 ingress; tc -n $H filter show dev nic0 egress;"
        " ip netns exec $H bpftool net; }}; ",
        WEIR_BINARY, prefix, directory_.string());
    const auto run = sys::run_command(
        {WEIR_BINARY, "lab", "run", scenario, "--prefix", prefix, "--for", "60s", "--", "sh", "-c", head + script},
        std::chrono::seconds(90));
    EXPECT_TRUE(run) << run.error().message;
    return run ? run->out : std::string();
  }
  fs::path directory_;
};

TEST_F(QueuesFixCommand, MendsTheCollapseAndGivesBackTheSameBytes) {
  const std::string out =
      in_lab("tx-collapse-tap",
             "before=$(picture);"
             "$W queues fix $H/nic0 --for 2s --journal $J; [ \"$before\" = \"$(picture)\" ] && echo PLAN-ONLY;"
             "$W queues fix $H/nic0 --for 3s --journal $J --apply; echo fix=$?;"
             "$W queues undo $H/nic0 --journal $J --apply; echo undo=$?;"
             "[ \"$before\" = \"$(picture)\" ] && echo SAME; ls $J | wc -l;"
             "$W queues undo $H/nic0 --journal $J; echo again=$?");
  EXPECT_THAT(out, HasSubstr("PLAN-ONLY"));
  EXPECT_THAT(out, HasSubstr("fix=0"));
  EXPECT_THAT(out, HasSubstr("used 1.00 of 4 transmit queues before and uses"));
  EXPECT_THAT(out, HasSubstr("undo=0"));
  EXPECT_THAT(out, HasSubstr("SAME\n0\n"));
  EXPECT_THAT(out, HasSubstr("again=1"));
}

TEST_F(QueuesFixCommand, TakesItselfBackWhenItDoesNotHelp) {
  // A filter before ours that accepts every packet for good: ours never runs.
  const std::string out =
      in_lab("tx-collapse-tap",
             "tc -n $H qdisc add dev nic0 clsact;"
             "tc -n $H filter add dev nic0 egress pref 1 bpf direct-action bytecode '1,6 0 0 0';"
             "before=$(picture); $W queues fix $H/nic0 --for 3s --journal $J --apply --json; echo fix=$?;"
             "[ \"$before\" = \"$(picture)\" ] && echo SAME; ls $J | wc -l");
  EXPECT_THAT(out, HasSubstr("fix=1\nSAME\n0\n"));
  const auto end = out.rfind("\n}\n");
  ASSERT_NE(end, std::string::npos) << out;
  const auto start = out.find('{');
  const auto document = nlohmann::json::parse(out.substr(start, end + 2 - start));
  EXPECT_EQ(document.at("schema"), "weir.queues_fix/1");
  EXPECT_TRUE(document.at("rolled_back"));
  EXPECT_FALSE(document.at("effect").at("improved"));
  EXPECT_EQ(document.at("plan").at("warnings").size(), 1U);
}

TEST_F(QueuesFixCommand, RefusesWhereXpsIsTheCause) {
  const std::string out =
      in_lab("nic-xps", "$W queues fix $H/nic0 --for 3s --journal $J --apply; echo fix=$?; ls -d $J 2>&1");
  EXPECT_THAT(out, HasSubstr("No plan: the cause is xps"));
  EXPECT_THAT(out, HasSubstr("fix=1"));
  EXPECT_FALSE(fs::exists(directory_ / "journal"));
}

}  // namespace
}  // namespace weir
