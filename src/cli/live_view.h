// A terminal that shows one screen after the other until `q` or a signal, and is left as it was found.
#pragma once

#include <termios.h>

#include <chrono>
#include <optional>
#include <string>

#include "base/result.h"
#include "sys/signal.h"

namespace weir::cli {

/// While it exists the terminal of stdout shows its alternate screen, without cursor. A `q` typed at the terminal of
/// stdin ends the view as SIGINT and SIGTERM do. The destructor gives the terminal back and prints the last screen once
/// more, so that what was seen last stays to be read.
class [[nodiscard]] LiveView {
 public:
  static Result<LiveView> open();
  LiveView(LiveView&& other) noexcept;
  LiveView(const LiveView&) = delete;
  LiveView& operator=(const LiveView&) = delete;
  LiveView& operator=(LiveView&&) = delete;
  ~LiveView();

  /// Shows `text`, cut to the size that the terminal has now, in place of what was shown before. Every line is written
  /// over the old one and only its rest is cleared: nothing flickers.
  void show(const std::string& text);
  /// Waits that long; false as soon as the view is to end.
  [[nodiscard]] bool wait(std::chrono::nanoseconds length);

 private:
  explicit LiveView(sys::StopSignal stop);
  sys::StopSignal stop_;
  std::optional<termios> keys_before_;  ///< how the keyboard was; nothing: its keys are not ours to take
  std::string last_;
  bool open_ = true;
  bool ended_ = false;
};

}  // namespace weir::cli
