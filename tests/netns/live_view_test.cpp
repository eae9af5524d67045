// `weir queues show --watch` on a terminal: tmux(1) is the terminal, and says what stands on it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "support/lab.h"
#include "support/process.h"
#include "support/terminal.h"

namespace weir {
namespace {

using test::eventually;
using test::Terminal;
using ::testing::HasSubstr;
using ::testing::Not;

class LiveView : public ::testing::TestWithParam<const char*> {};

TEST_P(LiveView, RefreshesAndLeavesTheTerminalInOrder) {
  WEIR_NEED_ROOT();
  test::TrafficLab lab("tx-collapse-tap");
  ASSERT_TRUE(lab.ok()) << lab.why();
  const Terminal terminal;
  const std::string keys = std::filesystem::temp_directory_path() / test::unique_prefix();
  // Ctrl-C goes to the shell as well, which would drop the rest of the line.
  terminal.type("trap : INT; stty -a >" + keys + "before; " WEIR_BINARY " queues show " + lab.uplink() +
                " --watch --for 400ms; echo exit=$?; stty -a >" + keys + "after");
  ASSERT_TRUE(terminal.shows("packets/s")) << terminal.screen();
  EXPECT_TRUE(terminal.alternate());
  EXPECT_FALSE(terminal.cursor());
  const std::string first = terminal.screen();
  EXPECT_THAT(first, HasSubstr("weir queues: " + lab.uplink()));
  EXPECT_THAT(first, HasSubstr("100.0 %  ####"));
  EXPECT_THAT(first, Not(HasSubstr("exit=")));  // the shell's screen is put away
  EXPECT_TRUE(eventually([&] { return terminal.screen() != first; })) << "it does not refresh";
  terminal.key(GetParam());
  ASSERT_TRUE(terminal.shows("exit=0")) << terminal.screen();
  EXPECT_FALSE(terminal.alternate());
  EXPECT_TRUE(terminal.cursor());
  EXPECT_THAT(terminal.screen(), HasSubstr("packets/s")) << "what was seen last stays to be read";
  terminal.type("cmp " + keys + "before " + keys + "after && echo same-$((40 + 2))");
  EXPECT_TRUE(terminal.shows("same-42")) << terminal.screen();
  for (const char* which : {"before", "after"}) std::filesystem::remove(keys + which);
}

INSTANTIATE_TEST_SUITE_P(Keys, LiveView, ::testing::Values("q", "C-c"),
                         [](const auto& param) { return param.param[0] == 'q' ? "q" : "interrupt"; });

}  // namespace
}  // namespace weir
