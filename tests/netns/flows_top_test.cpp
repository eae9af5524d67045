// `weir flows top` in a terminal, over traffic that goes on: views, order, filter, pause, size, and what q leaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "lab/traffic/pacer.h"
#include "support/terminal.h"
#include "support/traffic.h"

namespace weir {
namespace {

using test::eventually;
using ::testing::HasSubstr;

constexpr std::uint16_t kLargePort = 5301;
constexpr std::uint16_t kSmallPort = 5302;
constexpr std::uint64_t kLargePerSecond = 2000;  // of 1400 bytes: 22 Mbit/s, an elephant
constexpr std::uint64_t kSmallPerLarge = 4;      // of 50 bytes

/// One host that sends few large packets to one port of another, and many small ones to a second.
class TwoKinds {
 public:
  TwoKinds() {
    test::pair(near_, "top0", far_, "top1", 1);
    near_.ip("addr add 10.66.0.1/24 dev top0\n");
    far_.ip("addr add 10.66.0.2/24 dev top1\n");
    large_.emplace(near_, kLargePort);
    small_.emplace(near_, kSmallPort);
    sender_ = std::jthread([this](const std::stop_token& stop) { send(stop); });
  }

 private:
  struct Stream {
    Stream(const test::Namespace& from, std::uint16_t port) : socket(test::socket_in(from, AF_INET, SOCK_DGRAM)) {
      const auto to = test::address("10.66.0.2", port);
      if (::connect(socket.get(), test::raw(to), to.size) != 0) throw std::runtime_error("cannot connect");
    }
    void send(std::size_t bytes) const {
      const std::array<char, 1400> data{};
      static_cast<void>(::send(socket.get(), data.data(), bytes, 0));  // nobody listens, which ICMP tells
    }
    sys::Fd socket;
  };
  void send(const std::stop_token& stop) {
    auto pacer = lab::Pacer::start(kLargePerSecond);
    while (pacer && !stop.stop_requested()) {
      for (std::uint64_t due = pacer->wait(); due > 0; --due) {
        large_->send(1400);
        for (std::uint64_t i = 0; i < kSmallPerLarge; ++i) small_->send(50);
      }
    }
  }
  test::Namespace near_;
  test::Namespace far_;
  std::optional<Stream> large_;
  std::optional<Stream> small_;
  std::jthread sender_;
};

/// Whether the line with `first` stands above that with `second`.
bool stands_above(const std::string& screen, const std::string& first, const std::string& second) {
  const auto above = screen.find(first);
  const auto below = screen.find(second);
  return above != std::string::npos && below != std::string::npos && above < below;
}

TEST(FlowsTopTest, ShowsWhatTheKeysChoose) {
  WEIR_NEED_ROOT();
  const TwoKinds traffic;
  const test::Terminal terminal(150, 30);
  const std::string stty = std::filesystem::temp_directory_path() / test::unique_prefix();
  terminal.type("stty -a >" + stty + "before; " WEIR_BINARY " flows top --for 300ms; echo exit=$?; stty -a >" + stty +
                "after");
  ASSERT_TRUE(terminal.shows("workloads by rate")) << terminal.screen();
  EXPECT_TRUE(terminal.alternate());
  EXPECT_THAT(terminal.screen(), HasSubstr("ledger: accounted "));
  EXPECT_THAT(terminal.screen(), HasSubstr("q quit  w workloads  f flows"));

  const std::string large = " > 10.66.0.2:5301";
  const std::string small = " > 10.66.0.2:5302";
  terminal.key("f");
  ASSERT_TRUE(terminal.shows("flows by rate")) << terminal.screen();
  EXPECT_TRUE(eventually([&] { return stands_above(terminal.screen(), large, small); })) << terminal.screen();
  terminal.key("n");
  EXPECT_TRUE(terminal.shows("flows by packets"));
  EXPECT_TRUE(eventually([&] { return stands_above(terminal.screen(), small, large); })) << terminal.screen();
  terminal.key("i");
  EXPECT_TRUE(eventually([&] { return stands_above(terminal.screen(), large, small); })) << terminal.screen();
  terminal.key("i");

  terminal.letters("/:5301");
  EXPECT_TRUE(terminal.shows("filter: :5301_"));
  EXPECT_TRUE(eventually([&] { return terminal.screen().find(small) == std::string::npos; })) << terminal.screen();
  EXPECT_THAT(terminal.screen(), HasSubstr(large));
  terminal.key("Enter");
  EXPECT_TRUE(terminal.shows("only \":5301\""));
  // The heavy one is marked as soon as it has been so for long enough.
  EXPECT_TRUE(terminal.shows("\n* ")) << terminal.screen();
  terminal.key("Escape");
  EXPECT_TRUE(terminal.shows(small));

  terminal.key("p");
  ASSERT_TRUE(terminal.shows("PAUSED"));
  const std::string still = terminal.screen();
  EXPECT_FALSE(eventually([&] { return terminal.screen() != still; }, std::chrono::seconds(1)));
  terminal.key("p");
  EXPECT_TRUE(eventually([&] { return terminal.screen().find("PAUSED") == std::string::npos; }));

  terminal.resize(70, 12);
  EXPECT_TRUE(eventually([&] {
    return terminal.screen().find("n packets") != std::string::npos &&
           std::ranges::count(terminal.screen(), '\n') == 12;
  })) << terminal.screen();
  terminal.key("q");
  ASSERT_TRUE(terminal.shows("exit=0")) << terminal.screen();
  EXPECT_FALSE(terminal.alternate());
  EXPECT_TRUE(terminal.cursor());
  // The window's size is no matter of the keyboard's, and has changed.
  terminal.type("for f in before after; do sed 1d " + stty + "$f | cksum; done | uniq | wc -l | sed s/1/one-kind/");
  EXPECT_TRUE(terminal.shows("one-kind\n")) << terminal.screen();
  for (const char* which : {"before", "after"}) std::filesystem::remove(stty + which);
}

TEST(FlowsTopTest, GivesTheTerminalBackOnInterrupt) {
  WEIR_NEED_ROOT();
  const test::Terminal terminal(100, 20);
  terminal.type("trap : INT; " WEIR_BINARY " flows top --for 300ms; echo exit=$?");
  ASSERT_TRUE(terminal.shows("workloads by rate")) << terminal.screen();
  terminal.key("C-c");
  ASSERT_TRUE(terminal.shows("exit=0")) << terminal.screen();
  EXPECT_FALSE(terminal.alternate());
  EXPECT_TRUE(terminal.cursor());
}

}  // namespace
}  // namespace weir
