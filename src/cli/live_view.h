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

  struct Size {
    std::size_t rows = 24;
    std::size_t columns = 80;
  };
  [[nodiscard]] static Size size();
  /// Shows `text`, cut to the size that the terminal has now, in place of what was shown before. Every line is written
  /// over the old one and only its rest is cleared: nothing flickers. `footer` stands in the last lines.
  void show(const std::string& text, const std::string& footer = {});
  /// Waits that long; false as soon as the view is to end. What is shown is fitted to a terminal that changes its size.
  [[nodiscard]] bool wait(std::chrono::nanoseconds length);

  struct Wake {
    bool ended = false;    ///< a signal, or nobody is at the keyboard any more
    bool resized = false;  ///< show() again
    std::string keys{};    ///< as typed, `q` among them
  };
  /// Waits for any of these, at most so long.
  [[nodiscard]] Wake next(std::chrono::nanoseconds length);

 private:
  LiveView(sys::StopSignal stop, sys::ResizeSignal resize);
  sys::StopSignal stop_;
  sys::ResizeSignal resize_;
  std::optional<termios> keys_before_;  ///< how the keyboard was; nothing: its keys are not ours to take
  std::string last_;
  std::string footer_;
  bool open_ = true;
  bool ended_ = false;
};

}  // namespace weir::cli
