// The mitigation on real devices: applied, taken back byte for byte, killed between any two steps.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>

#include "bpf/program.h"
#include "netns/netns.h"
#include "steer/executor.h"
#include "steer/queues/plan_queue_fix.h"
#include "steer/queues/tc_changes.h"
#include "steer/tc.h"
#include "sys/clock.h"
#include "sys/process.h"

namespace weir::steer {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class SteerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ns_ = fmt::format("weir-steer-{}", ::getpid());
    auto made = netns::Netns::create_named(ns_);
    ASSERT_TRUE(made) << made.error().message;
    ns_id_ = made->id();
    sh(fmt::format("ip -n {} link add nic0 numtxqueues 4 numrxqueues 4 type veth peer name wire0", ns_));
    sh(fmt::format("ip -n {} link set nic0 up && ip -n {} link set wire0 up", ns_, ns_));
    std::string pattern = (fs::temp_directory_path() / "weir-steer-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override {
    if (ns_.empty()) return;
    (void)netns::Netns::remove_named(ns_);
    fs::remove_all(directory_);
  }

  static std::string sh(const std::string& command) {
    const auto result = sys::run_command({"/bin/sh", "-c", command}, std::chrono::seconds(20));
    EXPECT_TRUE(result && result->status.success()) << command << (result ? result->err : result.error().message);
    return result ? result->out : std::string();
  }
  void tc(const std::string& words) const { sh(fmt::format("tc -n {} {}", ns_, words)); }
  /// All that a person can look at.
  [[nodiscard]] std::string picture() const {
    return sh(
        fmt::format("tc -n {0} qdisc show; echo; tc -n {0} filter show dev nic0 ingress; echo;"
                    "tc -n {0} filter show dev nic0 egress; echo; ip netns exec {0} bpftool net",
                    ns_));
  }
  [[nodiscard]] model::DeviceRef nic() const {
    const auto index = sh(fmt::format("ip netns exec {} cat /sys/class/net/nic0/ifindex", ns_));
    return {{ns_id_, ns_}, IfIndex{static_cast<std::uint32_t>(std::stoul(index))}, "nic0"};
  }
  /// The plan for nic0, as the planner makes it from what is there.
  [[nodiscard]] QueueFixPlan plan(std::uint32_t preference = 50000) const {
    QueueFixPlan made;
    const bool clsact = picture().find("qdisc clsact") != std::string::npos;
    made.targets = {{nic(), TcHook::egress, !clsact, preference}};
    made.plan = {
        .kind = kQueueFixPlan, .subject = nic(), .title = "test", .steps = {}, .expected_effect = {}, .warnings = {}};
    return made;
  }
  Result<JournalEntry> apply(const QueueFixPlan& made, const Progress& progress = {}) const {
    auto journal = Journal::open(directory_);
    if (!journal) return pass(std::move(journal));
    auto changes = changes_of(made);
    return apply_plan(*journal, made.plan, changes, tc_undoers(), sys::SystemClock{}, progress);
  }
  /// Undoes everything in the journal and returns what was said.
  Result<std::vector<std::string>> undo_all(const Progress& progress = {}) const {
    auto journal = Journal::open(directory_);
    if (!journal) return pass(std::move(journal));
    const auto contents = journal->read();
    if (!contents) return std::unexpected(contents.error());
    std::vector<std::string> notes;
    for (const JournalEntry& entry : contents->entries) {
      auto more = undo_entry(*journal, entry, tc_undoers(), progress);
      if (!more) return pass(std::move(more));
      notes.insert(notes.end(), more->begin(), more->end());
    }
    return notes;
  }
  [[nodiscard]] bool journal_is_empty() const { return fs::is_empty(directory_); }

  /// Runs `body` in a child that kills itself (SIGKILL) when it is told of the `nth` moment; false when there were
  /// fewer.
  static bool killed_at(int nth, const std::function<void(const Progress&)>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
      int left = nth;
      body([&left](const model::PlanStep&, Phase) {
        if (left-- == 0) ::raise(SIGKILL);
      });
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

  std::string ns_;
  std::uint64_t ns_id_ = 0;
  fs::path directory_;
};

struct Scene {
  const char* name;
  std::vector<const char*> tc;
};

TEST_F(SteerTest, UndoGivesBackTheSameBytes) {
  const Scene scenes[] = {
      {"bare", {}},
      {"mq with tbf leaves",
       {"qdisc replace dev nic0 root handle 1: mq",
        "qdisc replace dev nic0 parent 1:1 tbf rate 50mbit burst 32k limit 64k"}},
      {"empty clsact", {"qdisc add dev nic0 clsact"}},
      {"filters at both hooks",
       {"qdisc add dev nic0 clsact", "filter add dev nic0 egress pref 10 protocol ip u32 match u32 0 0 classid 1:1",
        "filter add dev nic0 ingress pref 7 protocol ipv6 u32 match u32 0 0 classid 1:1"}},
  };
  for (const Scene& scene : scenes) {
    SCOPED_TRACE(scene.name);
    for (const char* words : scene.tc) tc(words);
    const std::string before = picture();
    const auto applied = apply(plan());
    ASSERT_TRUE(applied) << applied.error().message;
    const std::string during = picture();
    EXPECT_THAT(during, HasSubstr("weir_queue_fix"));
    EXPECT_THAT(during, HasSubstr("pref 50000"));
    const auto undone = undo_all();
    ASSERT_TRUE(undone) << undone.error().message;
    EXPECT_THAT(*undone, IsEmpty());
    EXPECT_EQ(picture(), before);
    EXPECT_TRUE(journal_is_empty());
    if (before.find("qdisc clsact") != std::string::npos) tc("qdisc del dev nic0 clsact");
  }
}

TEST_F(SteerTest, AKillAtAnyMomentOfApplyingCanBeUndone) {
  const std::string before = picture();
  const QueueFixPlan made = plan();
  int moments = 0;
  while (killed_at(moments, [&](const Progress& progress) { (void)apply(made, progress); })) {
    SCOPED_TRACE(fmt::format("killed at moment {}", moments));
    const auto undone = undo_all();
    ASSERT_TRUE(undone) << undone.error().message;
    EXPECT_EQ(picture(), before);
    EXPECT_TRUE(journal_is_empty());
    ++moments;
  }
  EXPECT_EQ(moments, 6) << "two steps of three moments each";
  ASSERT_TRUE(undo_all());
  EXPECT_EQ(picture(), before);
}

TEST_F(SteerTest, AKillAtAnyMomentOfUndoingCanBeFinished) {
  const std::string before = picture();
  const QueueFixPlan made = plan();
  for (int moment = 0; moment < 4; ++moment) {
    SCOPED_TRACE(fmt::format("killed at moment {}", moment));
    ASSERT_TRUE(apply(made));
    ASSERT_TRUE(killed_at(moment, [&](const Progress& progress) { (void)undo_all(progress); }));
    ASSERT_TRUE(undo_all());
    EXPECT_EQ(picture(), before);
    EXPECT_TRUE(journal_is_empty());
  }
}

TEST_F(SteerTest, WhatOthersAddedMeanwhileStays) {
  ASSERT_TRUE(apply(plan()));
  tc("filter add dev nic0 egress pref 10 protocol ip u32 match u32 0 0 classid 1:1");
  const auto undone = undo_all();
  ASSERT_TRUE(undone) << undone.error().message;
  ASSERT_EQ(undone->size(), 1U);
  EXPECT_THAT(undone->at(0), HasSubstr("stays"));
  EXPECT_THAT(picture(), HasSubstr("pref 10 u32"));
  EXPECT_THAT(picture(), Not(HasSubstr("weir_queue_fix")));
  EXPECT_TRUE(journal_is_empty());
}

TEST_F(SteerTest, AForeignFilterOfTheSamePreferenceStays) {
  ASSERT_TRUE(apply(plan()));
  const auto object = fmt::format("{}", WEIR_QUEUES_FIX_OBJECT);
  tc("filter add dev nic0 egress pref 50000 handle 2 bpf direct-action object-file " + object + " section tc");
  const auto undone = undo_all();
  ASSERT_TRUE(undone) << undone.error().message;
  const std::string after = picture();
  EXPECT_THAT(after, HasSubstr("handle 0x2"));
  EXPECT_THAT(after, Not(HasSubstr("handle 0x1 ")));
}

TEST_F(SteerTest, AFilterThatReplacedOursIsNotTouched) {
  ASSERT_TRUE(apply(plan()));
  tc("filter del dev nic0 egress pref 50000");
  const auto object = fmt::format("{}", WEIR_QUEUES_FIX_OBJECT);
  tc("filter add dev nic0 egress pref 50000 handle 1 bpf direct-action object-file " + object + " section tc");
  const std::string before = picture();
  const auto undone = undo_all();
  ASSERT_FALSE(undone) << "the same instructions, but another program: not ours";
  EXPECT_THAT(undone.error().message, HasSubstr("not the one that Weir installed"));
  EXPECT_EQ(picture(), before);
  EXPECT_FALSE(journal_is_empty());
}

TEST_F(SteerTest, AFilterThatWasRemovedByHandIsSaidAndDropped) {
  ASSERT_TRUE(apply(plan()));
  tc("qdisc del dev nic0 clsact");
  const auto undone = undo_all();
  ASSERT_TRUE(undone) << undone.error().message;
  ASSERT_EQ(undone->size(), 1U);
  EXPECT_THAT(undone->at(0), HasSubstr("removed already"));
  EXPECT_TRUE(journal_is_empty());
}

TEST_F(SteerTest, ADeviceThatIsGoneIsSaidAndDropped) {
  ASSERT_TRUE(apply(plan()));
  sh(fmt::format("ip -n {} link del nic0", ns_));
  const auto undone = undo_all();  // at once: the filter, and with it the program, goes after a grace period
  ASSERT_TRUE(undone) << undone.error().message;
  ASSERT_EQ(undone->size(), 1U);
  EXPECT_THAT(undone->at(0), HasSubstr("nic0 is gone"));
  EXPECT_TRUE(journal_is_empty());
}

TEST_F(SteerTest, ANamespaceThatIsGoneIsSaidAndDropped) {
  const auto applied = apply(plan());
  ASSERT_TRUE(applied);
  ASSERT_TRUE(netns::Netns::remove_named(ns_));
  const auto undone = undo_all();  // at once: the kernel is still taking it down
  ASSERT_TRUE(undone) << undone.error().message;
  ASSERT_EQ(undone->size(), 1U);
  EXPECT_THAT(undone->at(0), StartsWith("namespace " + ns_ + " is gone"));
  EXPECT_TRUE(journal_is_empty());
  const std::uint32_t program = applied->steps.back().data.at("program_id");
  const auto left = bpf::find_program(program);
  ASSERT_TRUE(left);
  EXPECT_FALSE(*left);
}

TEST_F(SteerTest, AHiddenNamespaceIsNotMistakenForAGoneOne) {
  auto held = netns::Netns::open(ns_);
  ASSERT_TRUE(held);
  const IfIndex device = nic().ifindex;
  ASSERT_TRUE(apply(plan()));
  ASSERT_TRUE(netns::Netns::remove_named(ns_));  // only our descriptor holds it now
  const auto undone = undo_all();
  if (undone) {
    EXPECT_TRUE(journal_is_empty());  // found through this process's descriptor: undone for real
  } else {
    EXPECT_THAT(undone.error().message, HasSubstr("still in force"));
    EXPECT_FALSE(journal_is_empty());
  }
  auto socket = TcSocket::open(*held);
  ASSERT_TRUE(socket);
  const auto filters = socket->filters(device, TcHook::egress);
  ASSERT_TRUE(filters) << filters.error().message;
  EXPECT_EQ(undone.has_value(), filters->empty());
}

TEST_F(SteerTest, TwoAtOnceAndOneWaits) {
  const QueueFixPlan made = plan();
  auto journal = Journal::open(directory_);
  ASSERT_TRUE(journal);
  const auto second = apply(made);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
  EXPECT_THAT(picture(), Not(HasSubstr("weir_queue_fix")));
}

TEST_F(SteerTest, APlanThatIsOutOfDateFailsAndChangesNothing) {
  const QueueFixPlan made = plan();
  tc("qdisc add dev nic0 clsact");  // somebody was faster
  const std::string before = picture();
  const auto applied = apply(made);
  ASSERT_FALSE(applied);
  EXPECT_THAT(applied.error().message, HasSubstr("plan again"));
  EXPECT_EQ(picture(), before);
  EXPECT_TRUE(journal_is_empty());
}

TEST_F(SteerTest, NothingStaysWhenTheFilterCannotBeAdded) {
  tc("qdisc add dev nic0 clsact");
  ASSERT_TRUE(apply(plan()));
  fs::remove_all(directory_);  // the record is lost: preference and handle are taken
  fs::create_directory(directory_);
  const std::string before = picture();
  const auto again = apply(plan());
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message, HasSubstr("nothing is changed"));
  EXPECT_EQ(picture(), before);
  EXPECT_TRUE(journal_is_empty());
}

}  // namespace
}  // namespace weir::steer
