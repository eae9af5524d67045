// The journal's files: written whole, read back the same, damaged ones named and passed over; the executor's order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "steer/executor.h"
#include "steer/journal.h"
#include "sys/clock.h"

namespace weir::steer {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class JournalTest : public ::testing::Test {
 protected:
  JournalTest() {
    std::string pattern = (fs::temp_directory_path() / "weir-journal-XXXXXX").string();
    directory_ = fs::path(::mkdtemp(pattern.data())) / "deep" / "journal";
  }
  ~JournalTest() override { fs::remove_all(directory_.parent_path().parent_path()); }

  static JournalEntry entry(std::uint32_t ifindex = 7) {
    return {.boot_id = boot_id().value(),
            .created = "2026-11-21T10:00:00.000000000Z",
            .kind = "queues-fix",
            .title = "clear \"it\"",
            .subject = {{0xFFFFFFFFFFFFFFFFULL, "weir-host"}, IfIndex{ifindex}, "nic0"},
            .steps = {{JournalStep::State::done, "tc-clsact", {"what", "command", "undo"}, {{"a", 1}}},
                      {JournalStep::State::intended, "tc-filter", {"w", "c", "u"}, {{"b", "x"}}}}};
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& item : fs::directory_iterator(directory_)) names.push_back(item.path().filename());
    return names;
  }
  void put(const std::string& name, const std::string& text) const { std::ofstream(directory_ / name) << text; }

  fs::path directory_;
};

TEST_F(JournalTest, ReadsBackWhatItWrote) {
  auto journal = Journal::open(directory_);
  ASSERT_TRUE(journal) << journal.error().message;
  ASSERT_TRUE(journal->write(entry()));
  const auto contents = journal->read();
  ASSERT_TRUE(contents);
  ASSERT_EQ(contents->entries.size(), 1U);
  EXPECT_EQ(to_text(contents->entries[0]), to_text(entry()));
  EXPECT_EQ(contents->entries[0].subject.netns.id, 0xFFFFFFFFFFFFFFFFULL);
  EXPECT_EQ(contents->entries[0].steps[1].state, JournalStep::State::intended);
  EXPECT_EQ(contents->entries[0].steps[1].data.at("b"), "x");
  ASSERT_TRUE(journal->remove(entry()));
  EXPECT_THAT(files(), IsEmpty());
  EXPECT_TRUE(journal->remove(entry())) << "removing what is gone is no error";
}

TEST_F(JournalTest, ADirectoryThatDoesNotExistIsAnEmptyJournal) {
  const auto contents = read_journal(directory_);
  ASSERT_TRUE(contents);
  EXPECT_TRUE(contents->entries.empty());
  EXPECT_FALSE(fs::exists(directory_)) << "reading must not make it";
}

TEST_F(JournalTest, DamagedFilesAreNamedAndTheOthersStayUsable) {
  auto journal = Journal::open(directory_);
  ASSERT_TRUE(journal);
  ASSERT_TRUE(journal->write(entry()));
  const std::string good = to_text(entry());
  put("a-empty.json", "");
  put("b-cut.json", good.substr(0, good.size() / 2));
  put("c-array.json", "[]");
  put("d-other.json", R"({"schema":"weir.journal/9"})");
  put("e-type.json", R"({"schema":"weir.journal/1","boot_id":7})");
  std::string odd = good;
  odd.replace(odd.find("intended"), 8, "shattered");
  put("f-state.json", odd);
  put("notes.txt", "not a journal file");
  const auto contents = journal->read();
  ASSERT_TRUE(contents);
  EXPECT_EQ(contents->entries.size(), 1U);
  ASSERT_EQ(contents->damaged.size(), 6U);
  for (const DamagedEntry& damaged : contents->damaged) EXPECT_FALSE(damaged.reason.empty()) << damaged.file;
  EXPECT_THAT(contents->damaged[3].reason, HasSubstr("weir.journal/9"));
  EXPECT_THAT(contents->damaged[5].reason, HasSubstr("shattered"));
}

TEST_F(JournalTest, EntriesOfAnEarlierBootAreStale) {
  auto journal = Journal::open(directory_);
  ASSERT_TRUE(journal);
  JournalEntry old = entry(8);
  old.boot_id = "00000000-0000-0000-0000-000000000000";
  ASSERT_TRUE(journal->write(old));
  ASSERT_TRUE(journal->write(entry(7)));
  const auto contents = journal->read();
  ASSERT_TRUE(contents);
  ASSERT_EQ(contents->stale.size(), 1U);
  EXPECT_EQ(contents->stale[0].subject.ifindex.value, 8U);
  EXPECT_EQ(contents->entries.size(), 1U);
}

TEST_F(JournalTest, OneAtATimeAndAKilledHolderLetsGo) {
  auto journal = Journal::open(directory_);
  ASSERT_TRUE(journal);
  const auto second = Journal::open(directory_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
  *journal = *Journal::open(directory_.parent_path());  // lets the first go
  put("x.json.new", "half a fi");
  const pid_t child = ::fork();
  if (child == 0) {
    const auto held = Journal::open(directory_);
    ::raise(held ? SIGKILL : SIGTERM);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_TRUE(Journal::open(directory_));
  EXPECT_THAT(files(), IsEmpty()) << "an unfinished file is cleaned up";
}

/// A change of a number in memory.
class SetNumber final : public Change {
 public:
  SetNumber(std::vector<int>& system, int value, bool fails = false) : system_(system), value_(value), fails_(fails) {}
  [[nodiscard]] std::string kind() const override { return "number"; }
  [[nodiscard]] model::PlanStep words() const override { return {"add " + std::to_string(value_), "c", "u"}; }
  Result<Json> prepare() override { return Json{{"value", value_}}; }
  Result<void> apply() override {
    if (fails_) return fail(Errc::failed, "no room");
    system_.push_back(value_);
    return {};
  }

 private:
  std::vector<int>& system_;
  int value_;
  bool fails_;
};

class ExecutorTest : public JournalTest {
 protected:
  ExecutorTest() : journal_(Journal::open(directory_).value()) {
    undoers_["number"] = [this](const JournalStep& step) -> Result<std::string> {
      if (refuse_ == step.data.at("value")) return fail(Errc::failed, "not ours");
      undone_.push_back(step.data.at("value"));
      std::erase(system_, step.data.at("value").get<int>());
      return std::string();
    };
  }
  Result<JournalEntry> apply(Changes changes) {
    return apply_plan(journal_, plan_, changes, undoers_, sys::SystemClock{});
  }
  Changes numbers(std::initializer_list<int> values, int failing = 0) {
    Changes changes;
    for (const int value : values) changes.push_back(std::make_unique<SetNumber>(system_, value, value == failing));
    return changes;
  }
  std::vector<int> system_, undone_;
  int refuse_ = 0;
  model::Plan plan_{.kind = "numbers",
                    .subject = {{1, "init"}, IfIndex{2}, "d"},
                    .title = "t",
                    .steps = {},
                    .expected_effect = {},
                    .warnings = {}};
  Journal journal_;
  Undoers undoers_;
};

TEST_F(ExecutorTest, UndoesInReverseAndLeavesNoFile) {
  const auto entry = apply(numbers({1, 2, 3}));
  ASSERT_TRUE(entry);
  EXPECT_THAT(system_, ElementsAre(1, 2, 3));
  EXPECT_THAT(files(), ElementsAre("numbers-1-2.json"));
  ASSERT_TRUE(undo_entry(journal_, *entry, undoers_));
  EXPECT_THAT(undone_, ElementsAre(3, 2, 1));
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(ExecutorTest, AFailingStepTakesTheOnesBeforeItBack) {
  const auto entry = apply(numbers({1, 2, 3}, 3));
  ASSERT_FALSE(entry);
  EXPECT_THAT(entry.error().message, HasSubstr("no room; nothing is changed"));
  EXPECT_THAT(system_, IsEmpty());
  EXPECT_THAT(undone_, ElementsAre(2, 1)) << "the step that never happened is not undone";
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(ExecutorTest, RefusesASecondPlanForTheSameDevice) {
  ASSERT_TRUE(apply(numbers({1})));
  const auto second = apply(numbers({2}));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
  EXPECT_THAT(system_, ElementsAre(1));
}

TEST_F(ExecutorTest, NeverOverwritesADamagedRecord) {
  put("numbers-1-2.json", "{");
  EXPECT_FALSE(apply(numbers({1})));
  EXPECT_THAT(system_, IsEmpty());
}

TEST_F(ExecutorTest, AnUndoThatStopsHalfWayGoesOnLater) {
  const auto entry = apply(numbers({1, 2, 3}));
  ASSERT_TRUE(entry);
  refuse_ = 2;
  EXPECT_FALSE(undo_entry(journal_, *entry, undoers_));
  const auto left = journal_.read();
  ASSERT_EQ(left->entries.size(), 1U);
  EXPECT_EQ(left->entries[0].steps[2].state, JournalStep::State::undone);
  refuse_ = 0;
  ASSERT_TRUE(undo_entry(journal_, left->entries[0], undoers_));
  EXPECT_THAT(undone_, ElementsAre(3, 2, 1));
  EXPECT_THAT(files(), IsEmpty());
}

}  // namespace
}  // namespace weir::steer
