// A terminal for a test: tmux(1) is it, and says what stands on it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/lab.h"
#include "support/process.h"

namespace weir::test {

/// A terminal with a shell in it, on a server of its own.
class Terminal {
 public:
  explicit Terminal(int columns = 90, int rows = 40) : server_(unique_prefix() + "tmux") {
    const Outcome started =
        tmux({"-f", "/dev/null", "new-session", "-d", "-x", std::to_string(columns), "-y", std::to_string(rows), "sh"});
    EXPECT_EQ(started.code, 0) << started.err;
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() { static_cast<void>(tmux({"kill-server"})); }

  void type(const std::string& line) const { static_cast<void>(tmux({"send-keys", line, "Enter"})); }
  void key(const std::string& name) const { static_cast<void>(tmux({"send-keys", name})); }
  /// Key by key what `text` has, without Enter.
  void letters(const std::string& text) const { static_cast<void>(tmux({"send-keys", "-l", text})); }
  void resize(int columns, int rows) const {
    static_cast<void>(tmux({"resize-window", "-x", std::to_string(columns), "-y", std::to_string(rows)}));
  }
  [[nodiscard]] std::string screen() const { return tmux({"capture-pane", "-p"}).out; }
  /// Whether the program shows a screen of its own instead of the shell's.
  [[nodiscard]] bool alternate() const { return tmux({"display-message", "-p", "#{alternate_on}"}).out == "1\n"; }
  [[nodiscard]] bool cursor() const { return tmux({"display-message", "-p", "#{cursor_flag}"}).out == "1\n"; }
  [[nodiscard]] bool shows(const std::string& text) const {
    return eventually([&] { return screen().find(text) != std::string::npos; });
  }

 private:
  [[nodiscard]] Outcome tmux(std::vector<std::string> words) const {
    words.insert(words.begin(), {"tmux", "-L", server_});
    return run(words);
  }
  std::string server_;
};

}  // namespace weir::test
