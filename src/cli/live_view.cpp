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

LiveView::LiveView(sys::StopSignal stop, sys::ResizeSignal resize)
    : stop_(std::move(stop)), resize_(std::move(resize)), keys_before_(take_keys()) {
  put(kEnter);
}

LiveView::LiveView(LiveView&& other) noexcept
    : stop_(std::move(other.stop_)),
      resize_(std::move(other.resize_)),
      keys_before_(other.keys_before_),
      last_(std::move(other.last_)),
      footer_(std::move(other.footer_)),
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
  auto resize = sys::ResizeSignal::install();
  if (!resize) return pass(std::move(resize));
  return LiveView(*std::move(stop), *std::move(resize));
}

LiveView::Size LiveView::size() {
  winsize now{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &now) != 0 || now.ws_row == 0 || now.ws_col == 0) return {};
  return {now.ws_row, now.ws_col};
}

void LiveView::show(const std::string& text, const std::string& footer) {
  last_ = text;
  footer_ = footer;
  const Size now = size();
  const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n'));
  const auto below = static_cast<std::size_t>(std::ranges::count(footer, '\n'));
  // Where everything cannot be shown the text goes first. The last line stays free: writing to its end would scroll.
  const std::size_t room = now.rows > below + 1 ? now.rows - below - 1 : 0;
  std::istringstream input(text);
  std::string screen = kHome;
  std::size_t shown = 0;
  for (std::string line; shown < room && std::getline(input, line); ++shown) {
    if (shown + 1 == room && lines > shown + 1) line = fmt::format("... {} more lines", lines - shown);
    screen += line.substr(0, now.columns) + kClearLine + "\n";
  }
  if (!footer.empty()) {
    for (; shown < room; ++shown) screen += kClearLine + std::string("\n");
    std::istringstream end(footer);
    for (std::string line; shown + 1 < now.rows && std::getline(end, line); ++shown) {
      screen += line.substr(0, now.columns) + kClearLine + "\n";
    }
  }
  put(screen + kClearBelow);
}

LiveView::Wake LiveView::next(std::chrono::nanoseconds length) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(length).count();
  std::array<pollfd, 3> ready{
      {{stop_.fd(), POLLIN, 0}, {keys_before_ ? STDIN_FILENO : -1, POLLIN, 0}, {resize_.fd(), POLLIN, 0}}};
  Wake wake;
  if (poll(ready.data(), ready.size(), static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000'000))) <= 0)
    return wake;
  wake.ended = ready[0].revents != 0;
  if (ready[2].revents != 0) {
    resize_.take();
    wake.resized = true;
  }
  if (ready[1].revents == 0) return wake;
  std::array<char, 64> typed{};
  const ssize_t got = read(STDIN_FILENO, typed.data(), typed.size());
  if (got <= 0)
    wake.ended = true;  // a keyboard that is gone: nobody watches any more
  else
    wake.keys.assign(typed.data(), static_cast<std::size_t>(got));
  return wake;
}

bool LiveView::wait(std::chrono::nanoseconds length) {
  const auto deadline = std::chrono::steady_clock::now() + length;
  while (!ended_) {
    const auto left = deadline - std::chrono::steady_clock::now();
    const Wake wake = next(left);
    ended_ = wake.ended || wake.keys.find_first_of("qQ") != std::string::npos;
    if (wake.resized) show(std::string(last_), std::string(footer_));
    if (left <= std::chrono::nanoseconds::zero()) break;
  }
  return !ended_;
}

}  // namespace weir::cli
