// sys: parsers and helpers that need no privileges.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "support/netlink_wire.h"
#include "sys/cpu_list.h"
#include "sys/file_tree.h"
#include "sys/host.h"
#include "sys/lock_file.h"
#include "sys/netlink_attr.h"
#include "sys/process.h"
#include "sys/scratch_thread.h"
#include "sys/signal.h"

namespace weir::sys {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Wire;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class TempDir {
 public:
  TempDir() {
    std::string pattern = "/tmp/weir-sys-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path_ + "/" + name).parent_path());
    std::ofstream(path_ + "/" + name) << text;
  }

 private:
  std::string path_;
};

TEST(CpuList, ReadsWhatTheKernelWrites) {
  EXPECT_THAT(*parse_cpu_list("0-3,8\n"), ElementsAre(0, 1, 2, 3, 8));
  EXPECT_THAT(*parse_cpu_list(""), IsEmpty());
  EXPECT_THAT(*parse_cpu_list("\n"), IsEmpty());
  EXPECT_THAT(*parse_cpu_list("8,0-1,1"), ElementsAre(0, 1, 8));
  EXPECT_THAT(*parse_cpu_mask("1,00000003\n"), ElementsAre(0, 1, 32));
  EXPECT_THAT(*parse_cpu_mask("0"), IsEmpty());
  EXPECT_THAT(*parse_cpu_mask("00000000,00000000"), IsEmpty());
  EXPECT_EQ(parse_cpu_mask("ff,ffffffff")->size(), 40U);
}

TEST(CpuList, RefusesWhatIsNone) {
  for (const char* text : {"a", "1-", "-1", "3-1", "1,,2", "0-4294967295", "65536", "1 2", ",", "0x1"}) {
    EXPECT_FALSE(parse_cpu_list(text)) << text;
  }
  for (const char* text : {"", "g", "1,", ",1", "123456789", "ff ff", "-1"}) {
    EXPECT_FALSE(parse_cpu_mask(text)) << text;
  }
}

TEST(CpuList, WritesWhatItReads) {
  for (const auto& cpus : std::vector<std::vector<std::uint32_t>>{{}, {0}, {31}, {32}, {0, 1, 2, 64, 127}, {5, 7}}) {
    EXPECT_EQ(*parse_cpu_list(format_cpu_list(cpus)), cpus);
    EXPECT_EQ(*parse_cpu_mask(format_cpu_mask(cpus)), cpus);
  }
  EXPECT_EQ(format_cpu_list({0, 1, 2, 8}), "0-2,8");
  EXPECT_EQ(format_cpu_mask({0, 1, 32}), "1,00000003");
}

TEST(FileTree, ReadsBelowItsRoot) {
  const TempDir dir;
  dir.write("sys/a", "  12\n");
  dir.write("sys/hex", "0x1f\n");
  dir.write("sys/list", "0-1\n");
  dir.write("sys/words", "no number\n");
  std::filesystem::create_symlink("../bus/drivers/ena", dir.path() + "/sys/driver");
  const auto tree = FileTree::open(dir.path());
  ASSERT_TRUE(tree);
  EXPECT_EQ(*tree->text("sys/a"), "12");
  EXPECT_EQ(*tree->number("sys/a"), 12U);
  EXPECT_EQ(*tree->number("sys/hex"), 31U);
  EXPECT_THAT(*tree->cpu_list("sys/list"), ElementsAre(0, 1));
  EXPECT_EQ(*tree->link_target("sys/driver"), "../bus/drivers/ena");
  EXPECT_THAT(*tree->subtree("sys")->directory("."), ElementsAre("a", "driver", "hex", "list", "words"));
  EXPECT_EQ(tree->text("sys/none").error().code, Errc::not_found);
  EXPECT_EQ(tree->directory("none").error().code, Errc::not_found);
  EXPECT_THAT(tree->number("sys/words").error().message, HasSubstr("sys/words"));
  EXPECT_EQ(FileTree::open(dir.path() + "/none").error().code, Errc::not_found);
}

TEST(FileTree, ReadsThisHost) {
  const auto tree = FileTree::open();
  ASSERT_TRUE(tree);
  EXPECT_FALSE(kernel_release(*tree)->empty());
  EXPECT_FALSE(hostname(*tree)->empty());
  EXPECT_FALSE(online_cpus(*tree)->empty());
  EXPECT_FALSE(numa_cpus(*tree)->empty());
}

TEST(Host, WithoutNumaThereIsOneNode) {
  const TempDir dir;
  dir.write("sys/devices/system/cpu/online", "0-3\n");
  EXPECT_THAT(*numa_cpus(*FileTree::open(dir.path())), ElementsAre(ElementsAre(0, 1, 2, 3)));
}

TEST(Host, NodesStandInTheOrderOfTheirNumbers) {
  const TempDir dir;
  dir.write("sys/devices/system/node/node10/cpulist", "3\n");
  dir.write("sys/devices/system/node/node2/cpulist", "2\n");
  dir.write("sys/devices/system/node/node0/cpulist", "0-1\n");
  dir.write("sys/devices/system/node/online", "0,2,10\n");
  EXPECT_THAT(*numa_cpus(*FileTree::open(dir.path())), ElementsAre(ElementsAre(0, 1), ElementsAre(2), ElementsAre(3)));
}

constexpr AttrRule kPolicy[] = {
    {1, AttrKind::u32}, {2, AttrKind::string}, {3, AttrKind::nested}, {4, AttrKind::binary, 8}, {5, AttrKind::flag}};

TEST(NetlinkAttributes, AreReadByTheirRules) {
  Wire inner;
  inner.attr(1, test::raw<std::uint32_t>(7)).attr(2, std::string("abc\0", 4));
  Wire wire;
  wire.attr(1, test::raw<std::uint32_t>(1))
      .attr(1, test::raw<std::uint32_t>(2))
      .attr(2, "unterminated")
      .attr(3 | NLA_F_NESTED, inner.text())
      .attr(99, "?");
  wire.attr(5, "");
  const auto parsed = Attributes::parse(wire.bytes(), kPolicy);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->u32(1), 2U);
  EXPECT_EQ(parsed->u64(1), std::nullopt) << "declared as another kind";
  EXPECT_EQ(parsed->string(2), "unterminated");
  EXPECT_TRUE(parsed->has(5));
  EXPECT_FALSE(parsed->has(99));
  EXPECT_FALSE(parsed->has(4));
  const auto nest = parsed->nested(3, kPolicy);
  ASSERT_TRUE(nest);
  EXPECT_EQ(nest->u32(1), 7U);
  EXPECT_EQ(nest->string(2), "abc");
  EXPECT_EQ(parsed->elements(3)->size(), 2U);
}

TEST(NetlinkAttributes, BrokenOnesAreErrors) {
  EXPECT_FALSE(Attributes::parse(Wire().attr(1, "abc").bytes(), kPolicy)) << "u32 of three bytes";
  EXPECT_FALSE(Attributes::parse(Wire().attr(4, "1234567").bytes(), kPolicy)) << "binary below its least size";
  EXPECT_FALSE(Attributes::parse(Wire().attr(5, "x").bytes(), kPolicy)) << "flag with a value";
  const Wire whole = Wire().attr(2, "four").attr(1, test::raw<std::uint32_t>(1));
  EXPECT_FALSE(Attributes::parse(whole.bytes().first(whole.bytes().size() - 1), kPolicy)) << "cut";
  std::string zero_length(4, '\0');
  EXPECT_FALSE(Attributes::parse(std::as_bytes(std::span(zero_length)), kPolicy)) << "would loop for ever";
  EXPECT_TRUE(Attributes::parse({}, kPolicy));
}

TEST(Process, CapturesBothOutputsAndTheExitCode) {
  const auto result = run_command({"sh", "-c", "echo out; echo err >&2; exit 7"}, seconds(20));
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->out, "out\n");
  EXPECT_EQ(result->err, "err\n");
  EXPECT_EQ(result->status.code, 7);
}

TEST(Process, MoreOutputThanAPipeHolds) {
  const auto result = run_command({"sh", "-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"}, seconds(20));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->out.size(), 300000U);
  EXPECT_EQ(result->err.size(), 300000U);
}

TEST(Process, AMissingProgramIsNotFound) {
  const auto process = Process::spawn({"weir-no-such-program"});
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error().code, Errc::not_found);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no zombie";
}

TEST(Process, ADeadlineKillsTheWholeGroup) {
  const auto result = run_command({"sh", "-c", "sleep 1000 & wait"}, milliseconds(50));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("in time"));
}

TEST(Process, EndsBySignalAndWaitsTwice) {
  auto process = Process::spawn({"sleep", "1000"}, {.quiet = true});
  ASSERT_TRUE(process);
  EXPECT_EQ(*process->wait(milliseconds(1)), std::nullopt);
  ASSERT_TRUE(process->signal(SIGTERM));
  for (int i = 0; i < 2; ++i) {
    const auto status = process->wait(seconds(20));
    ASSERT_TRUE(status);
    ASSERT_TRUE(*status);
    EXPECT_EQ((*status)->signal, SIGTERM);
  }
  EXPECT_TRUE(process->signal(SIGTERM)) << "a process that has ended is no error";
}

TEST(Process, DestructionKillsAndReaps) {
  pid_t pid = 0;
  {
    const auto process = Process::spawn({"sleep", "1000"}, {.die_with_parent = true, .quiet = true});
    ASSERT_TRUE(process);
    pid = process->pid();
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(StopSignal, TurnsSignalsIntoSomethingToWaitFor) {
  auto stop = StopSignal::install();
  ASSERT_TRUE(stop);
  EXPECT_FALSE(stop->requested());
  EXPECT_FALSE(stop->wait_for(milliseconds(1)));
  ASSERT_EQ(::raise(SIGINT), 0);
  EXPECT_TRUE(stop->wait_for(seconds(20)));
  EXPECT_TRUE(stop->requested()) << "it stays asked for";
}

TEST(StopSignal, ChildrenStartUnblocked) {
  const auto stop = StopSignal::install();
  ASSERT_TRUE(stop);
  auto process = Process::spawn({"sleep", "1000"}, {.quiet = true});
  ASSERT_TRUE(process);
  ASSERT_TRUE(process->signal(SIGTERM));
  const auto status = process->wait(seconds(20));
  ASSERT_TRUE(status && *status);
  EXPECT_EQ((*status)->signal, SIGTERM);
}

TEST(LockFile, TheSecondIsToldWhoHasIt) {
  const TempDir dir;
  {
    const auto first = LockFile::acquire("queues", dir.path());
    ASSERT_TRUE(first);
    const auto second = LockFile::acquire("queues", dir.path());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Errc::busy);
    EXPECT_THAT(second.error().message, HasSubstr("process " + std::to_string(::getpid())));
    EXPECT_TRUE(LockFile::acquire("other", dir.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  EXPECT_TRUE(LockFile::acquire("queues", dir.path()));
}

TEST(ScratchThread, HandsOverResultsAndExceptions) {
  EXPECT_TRUE(on_scratch_thread([]() -> Result<void> { return {}; }));
  EXPECT_EQ(on_scratch_thread([]() -> Result<void> { return fail(Errc::busy, "b"); }).error().code, Errc::busy);
  EXPECT_THROW(static_cast<void>(on_scratch_thread([]() -> Result<void> { throw std::runtime_error("bug"); })),
               std::runtime_error);
}

}  // namespace
}  // namespace weir::sys
