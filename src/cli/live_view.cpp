#include "cli/live_view.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <sstream>
#include <utility>

namespace weir::cli {

namespace {

// ECMA-48 and xterm: alternate screen and cursor; home; clear to the end of the line, of the screen.
constexpr const char* kEnter = "\033[?1049h\033[?25l\033[H\033[2J";
constexpr const char* kLeave = "\033[?25h\033[?1049l";
constexpr const char* kHome = "\033[H";
constexpr const char* kClearLine = "\033[K";
constexpr const char* kClearBelow = "\033[J";

/// In one piece, so that no half screen is seen.
void put(const std::string& text) {
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stdout));
  static_cast<void>(std::fflush(stdout));
}

winsize size_now() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0) size = {24, 80, 0, 0};
  return size;
}

/// Keys one by one and unseen. Ctrl-C still makes SIGINT; Ctrl-Z would leave the shell in our screen.
std::optional<termios> take_keys() {
  termios before{};
  // In the background the keyboard belongs to somebody else, and taking it would stop this process.
  if (tcgetpgrp(STDIN_FILENO) != getpgrp() || tcgetattr(STDIN_FILENO, &before) != 0) return std::nullopt;
  termios ours = before;
  ours.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  ours.c_cc[VSUSP] = _POSIX_VDISABLE;
  ours.c_cc[VMIN] = 0;
  ours.c_cc[VTIME] = 0;
  if (tcsetattr(STDIN_FILENO, TCSANOW, &ours) != 0) return std::nullopt;
  return before;
}

}  // namespace

LiveView::LiveView(sys::StopSignal stop) : stop_(std::move(stop)), keys_before_(take_keys()) {
  put(kEnter);
}

LiveView::LiveView(LiveView&& other) noexcept
    : stop_(std::move(other.stop_)),
      keys_before_(other.keys_before_),
      last_(std::move(other.last_)),
      open_(std::exchange(other.open_, false)),
      ended_(other.ended_) {}

LiveView::~LiveView() {
  if (!open_) return;
  put(kLeave + last_);
  if (keys_before_) tcsetattr(STDIN_FILENO, TCSAFLUSH, &*keys_before_);
}

Result<LiveView> LiveView::open() {
  auto stop = sys::StopSignal::install();
  if (!stop) return pass(std::move(stop));
  return LiveView(*std::move(stop));
}

void LiveView::show(const std::string& text) {
  last_ = text;
  const winsize size = size_now();
  const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n'));
  std::istringstream input(text);
  std::string screen = kHome;
  std::size_t shown = 0;
  // The last line of the terminal stays free: writing to its end would scroll.
  for (std::string line; shown + 1 < size.ws_row && std::getline(input, line); ++shown) {
    if (shown + 2 == size.ws_row && lines > shown + 1) line = fmt::format("... {} more lines", lines - shown);
    screen += line.substr(0, size.ws_col) + kClearLine + "\n";
  }
  put(screen + kClearBelow);
}

bool LiveView::wait(std::chrono::nanoseconds length) {
  const auto deadline = std::chrono::steady_clock::now() + length;
  while (!ended_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    std::array<pollfd, 2> ready{{{stop_.fd(), POLLIN, 0}, {keys_before_ ? STDIN_FILENO : -1, POLLIN, 0}}};
    const int got =
        poll(ready.data(), ready.size(), static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000'000)));
    if (got > 0 && ready[0].revents != 0) ended_ = true;
    if (got > 0 && ready[1].revents != 0) {
      char key = 0;
      // A keyboard that is gone ends the view too: nobody watches it any more.
      if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q') ended_ = true;
    }
    if (left <= 0) break;
  }
  return !ended_;
}

}  // namespace weir::cli
