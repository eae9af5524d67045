// `weir queues show --watch` on a terminal: tmux(1) is the terminal, and says what stands on it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "support/lab.h"
#include "support/process.h"

namespace weir {
namespace {

using test::eventually;
using ::testing::HasSubstr;
using ::testing::Not;

/// A terminal with a shell in it, on a server of its own.
class Terminal {
 public:
  Terminal() : server_(test::unique_prefix() + "tmux") {
    const test::Outcome started = tmux({"-f", "/dev/null", "new-session", "-d", "-x", "90", "-y", "40", "sh"});
    EXPECT_EQ(started.code, 0) << started.err;
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() { static_cast<void>(tmux({"kill-server"})); }

  void type(const std::string& line) const { static_cast<void>(tmux({"send-keys", line, "Enter"})); }
  void key(const std::string& name) const { static_cast<void>(tmux({"send-keys", name})); }
  [[nodiscard]] std::string screen() const { return tmux({"capture-pane", "-p"}).out; }
  /// Whether the program shows a screen of its own instead of the shell's.
  [[nodiscard]] bool alternate() const { return tmux({"display-message", "-p", "#{alternate_on}"}).out == "1\n"; }
  [[nodiscard]] bool cursor() const { return tmux({"display-message", "-p", "#{cursor_flag}"}).out == "1\n"; }
  [[nodiscard]] bool shows(const std::string& text) const {
    return eventually([&] { return screen().find(text) != std::string::npos; });
  }

 private:
  [[nodiscard]] test::Outcome tmux(std::vector<std::string> words) const {
    words.insert(words.begin(), {"tmux", "-L", server_});
    return test::run(words);
  }
  std::string server_;
};

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
