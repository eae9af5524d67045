// The torture test of the namespace library: it passes on the library as it is and fails on each broken one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "support/leaks.h"
#include "support/process.h"

namespace weir {
namespace {

using nlohmann::json;
using test::Outcome;
using test::run_weir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Torture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    before_ = test::HostSnapshot::take();
  }
  void TearDown() override {
    if (before_) {
      EXPECT_THAT(before_->leftovers(), IsEmpty());
    }
  }
  std::optional<test::HostSnapshot> before_;
};

TEST_F(Torture, TheLibraryHolds) {
  const Outcome ran =
      run_weir({"netns", "torture", "--for", "20s", "--namespaces", "256", "--json"}, std::chrono::seconds(180));
  const json report = json::parse(ran.out);
  EXPECT_EQ(ran.code, 0) << report.dump(1);
  EXPECT_EQ(report["schema"], "weir.torture/1");
  EXPECT_EQ(report["invariants_broken"], json::array()) << "seed " << report["seed"];
  for (const char* wrong :
       {"wrong_namespace", "repeated_identities", "false_ready", "leaked_fds", "stalls", "broken"}) {
    EXPECT_EQ(report[wrong], 0) << wrong;
  }
  for (const char* tried : {"switches", "sockets_checked", "homecomings_checked", "echoes_checked", "ready_checked",
                            "namespaces_made", "faults_injected"}) {
    EXPECT_GT(report[tried], 0) << tried;
  }
}

std::map<std::string, std::string> digests(const std::string& seed) {
  const Outcome ran = run_weir(
      {"netns", "torture", "--seed", seed, "--operations", "256", "--namespaces", "16", "--threads", "4", "--json"},
      std::chrono::seconds(180));
  std::map<std::string, std::string> all;
  const json report = json::parse(ran.out);
  EXPECT_EQ(ran.code, 0) << report.dump(1);
  for (const json& actor : report["actors"]) {
    // Those that only answer others do as much as they are asked to.
    if (actor["digest"] != "0000000000000000") all[actor["name"]] = actor["digest"];
  }
  return all;
}

TEST_F(Torture, ASeedDecidesWhatEveryActorDoes) {
  const auto first = digests("7");
  EXPECT_GE(first.size(), 8U);
  EXPECT_EQ(first, digests("7"));
  EXPECT_NE(first, digests("8"));
}

TEST_F(Torture, ItEndsWhenItIsAskedTo) {
  test::Process started({WEIR_BINARY, "netns", "torture", "--namespaces", "16", "--for", "1h"});
  const auto working = [&] {
    std::size_t threads = 0;
    std::error_code none;
    std::filesystem::directory_iterator task("/proc/" + std::to_string(started.pid()) + "/task", none);
    for (; !none && task != std::filesystem::directory_iterator(); task.increment(none)) ++threads;
    return threads > 8;
  };
  ASSERT_TRUE(test::eventually(working, std::chrono::seconds(60)));
  started.signal(SIGINT);
  const Outcome outcome = started.wait(std::chrono::seconds(90));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("Nothing broke"));
}

TEST_F(Torture, WrongWordsExitWithTwo) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{{{"--namespaces", "0"}, "--namespaces"},
                                                                            {{"--threads", "0"}, "--threads"},
                                                                            {{"--for", "10"}, "--for"},
                                                                            {{"--seed", "0"}, "--seed"},
                                                                            {{"--seed", "x"}, "--seed"},
                                                                            {{"--operations", "-1"}, "--operations"}};
  for (const auto& [words, said] : cases) {
    std::vector<std::string> all{"netns", "torture"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = run_weir(all);
    EXPECT_EQ(outcome.code, 2) << said;
    EXPECT_THAT(outcome.err, HasSubstr(said));
  }
}

/// The programs of tests/netns/mutants.
std::vector<std::string> mutants() {
  std::vector<std::string> programs;
  for (const auto& file : std::filesystem::directory_iterator(WEIR_MUTANTS)) {
    if (file.path().filename().string().starts_with("mutant_")) programs.push_back(file.path());
  }
  std::ranges::sort(programs);
  return programs;
}

class Mutant : public Torture, public ::testing::WithParamInterface<std::string> {};

TEST_P(Mutant, IsNoticedWithinAMinute) {
  const Outcome ran = test::run({std::string(WEIR_MUTANTS) + "/" + GetParam(), "1", "60"}, std::chrono::seconds(180));
  EXPECT_EQ(ran.code, 1) << ran.out << ran.err;
  std::printf("%s\n", ran.out.substr(0, ran.out.find('\n', ran.out.find('\n') + 1)).c_str());
}

INSTANTIATE_TEST_SUITE_P(All, Mutant,
                         ::testing::Values("mutant_skipped_return", "mutant_ignored_restore_error",
                                           "mutant_ignored_entry_error", "mutant_compared_by_inode",
                                           "mutant_compared_by_fd_number", "mutant_trusted_descriptor",
                                           "mutant_told_too_early"),
                         [](const auto& each) { return each.param.substr(sizeof "mutant_" - 1); });

TEST(Mutants, AllAreTried) {
  EXPECT_EQ(mutants().size(), 7U) << "a mutant was added: name it above";
}

}  // namespace
}  // namespace weir
