// A pinned data plane counts on while its owner is gone, and the next one goes on where the last one was: nothing is
// lost, nothing is told twice, and nothing is left behind in the end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <filesystem>

#include "base/units.h"
#include "support/flow_host.h"
#include "support/leaks.h"
#include "support/process.h"
#include "support/traffic.h"
#include "sys/clock.h"

namespace weir::observe {
namespace {

using model::FlowDirection;
using model::FlowWindow;
using std::chrono::milliseconds;
using test::Address;
using test::address;
using test::FlowHost;
using test::kPort;
using test::Namespace;
using test::socket_in;

/// What windows told, summed up; small enough for a pipe to take it at once.
struct Told {
  std::uint64_t windows = 0;
  std::uint64_t accounted = 0;
  std::uint64_t overflow = 0;
  std::uint64_t interfaces = 0;
  std::int64_t unattributed = 0;

  void add(const FlowWindow& window) {
    ++windows;
    for (const model::LedgerLine& line : window.ledger.lines) {
      accounted += line.accounted_bytes;
      overflow += line.overflow_bytes;
      interfaces += line.interface_bytes;
      unattributed += line.unattributed_bytes();
    }
  }
  void add(const Told& more) {
    windows += more.windows;
    accounted += more.accounted;
    overflow += more.overflow;
    interfaces += more.interfaces;
    unattributed += more.unattributed;
  }
};

/// A process that owns the pins: waits for a word, tells what two windows had, and watches on without telling.
class Owner {
 public:
  Owner(const FlowRequest& request, const Clock& clock) {
    if (::pipe2(order_.data(), O_CLOEXEC) != 0 || ::pipe2(answer_.data(), O_CLOEXEC) != 0)
      throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) ::_exit(live(request, clock));
  }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  ~Owner() {
    kill();
    for (const int fd : {order_[0], order_[1], answer_[0], answer_[1]}) ::close(fd);
  }
  /// Lets it begin, and returns once it has.
  void begin() {
    EXPECT_EQ(::write(order_[1], "g", 1), 1);
    char word = 0;
    EXPECT_EQ(::read(answer_[0], &word, 1), 1);
  }
  /// What its windows told, once it goes on without telling.
  Told told() {
    Told told;
    EXPECT_EQ(::read(answer_[0], &told, sizeof told), static_cast<ssize_t>(sizeof told));
    return told;
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, -1), nullptr, 0);
  }

 private:
  int live(const FlowRequest& request, const Clock& clock) {
    ::close(answer_[0]);
    char word = 0;
    if (::read(order_[0], &word, 1) != 1) return 1;
    auto watch = FlowWatch::start(request, clock);
    if (!watch || ::write(answer_[1], &word, 1) != 1) return 2;
    Told told;
    for (int windows = 0; windows < 2; ++windows) {
      if (!watch->poll(milliseconds(100), {})) return 3;
      const auto window = watch->window();
      if (!window) return 4;
      told.add(*window);
    }
    if (::write(answer_[1], &told, sizeof told) != static_cast<ssize_t>(sizeof told)) return 5;
    while (watch->poll(milliseconds(50), {})) {
    }
    return 6;
  }

  std::array<int, 2> order_{};
  std::array<int, 2> answer_{};
  pid_t pid_ = -1;
};

/// One heavy flow, and a new short one every 50 packets, until it is stopped.
class Flood {
 public:
  explicit Flood(const Namespace& from) : socket_(socket_in(from, AF_INET, SOCK_DGRAM)), thread_([this] { run(); }) {}
  ~Flood() { stop(); }
  void stop() {
    stopped_ = true;
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] int sent() const { return sent_; }

 private:
  void run() {
    const std::array<char, 400> data{};
    while (!stopped_) {
      const int number = sent_++;
      const bool is_short = number % 50 == 0;
      const Address to =
          address("10.9.1.2", static_cast<std::uint16_t>(is_short ? kPort + 1 + number / 50 % 50'000 : kPort));
      if (::sendto(socket_.get(), data.data(), data.size(), 0, test::raw(to), to.size) < 0) return;
    }
  }
  sys::Fd socket_;
  std::atomic<bool> stopped_ = false;
  std::atomic<int> sent_ = 0;
  std::thread thread_;
};

class FlowsPinnedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    for (const Namespace* ns : {&left_, &right_}) ns->sysctl("ipv6/conf/default/disable_ipv6", "1");
    test::pair(left_, "eth0", right_, "eth0", 1);
    left_.ip("addr add 10.9.1.1/24 dev eth0\n");
    // Neighbours that nobody asks for, and a receiver that answers nothing: each packet is one of the test.
    left_.ip("neigh add 10.9.1.2 lladdr 02:00:00:00:00:99 dev eth0 nud permanent\n");
    host_.emplace(std::vector<const Namespace*>{&left_, &right_});
  }
  void TearDown() override { static_cast<void>(DataPlane::unpin(directory_)); }

  /// Ten datagrams of 342 bytes to as many ports, from the same one each time.
  void send_ten() const {
    const sys::Fd socket = test::bound(left_, address("10.9.1.1", 5353), SOCK_DGRAM);
    const std::array<char, 300> data{};
    for (std::uint16_t port = kPort; port < kPort + 10; ++port) {
      const Address to = address("10.9.1.2", port);
      ASSERT_EQ(::sendto(socket.get(), data.data(), data.size(), 0, test::raw(to), to.size), std::ssize(data));
    }
  }
  [[nodiscard]] FlowRequest request(std::uint32_t flows = 4096) const {
    FlowRequest request;
    request.flows = flows;
    request.retirement.idle = milliseconds(400);
    request.pin_directory = directory_;
    return host_->watched_by(std::move(request));
  }
  FlowWatch start(FlowRequest request) {
    auto watch = FlowWatch::start(std::move(request), clock_);
    if (!watch) throw std::runtime_error(watch.error().message);
    return *std::move(watch);
  }
  static FlowWindow window(FlowWatch& watch) {
    auto seen = watch.window();
    if (!seen) throw std::runtime_error(seen.error().message);
    return *std::move(seen);
  }
  void expect_nothing_left() {
    const auto unpinned = DataPlane::unpin(directory_);
    ASSERT_TRUE(unpinned) << unpinned.error().message;
    EXPECT_TRUE(*unpinned);
    EXPECT_THAT(before_.leftovers(), ::testing::IsEmpty());
  }

  const std::string directory_ = "/run/weir/test-" + std::to_string(::getpid());
  const test::HostSnapshot before_ = test::HostSnapshot::take();
  Namespace left_;
  Namespace right_;
  std::optional<FlowHost> host_;
  sys::SystemClock clock_;
};

std::uint64_t bytes_of(const InterfaceCounts& counts) {
  std::uint64_t sum = 0;
  for (const auto& [where, count] : counts) sum += count.rx_bytes + count.tx_bytes;
  return sum;
}

TEST_F(FlowsPinnedTest, OwnersThatAreKilledLoseNothing) {
  const InterfaceCounts at_first = host_->counters();
  Told told;
  int sent = 0;
  {
    Owner first(request(), clock_);
    Owner second(request(), clock_);
    first.begin();
    Flood flood(left_);
    told.add(first.told());
    // Short flows of a window that is never told are taken out of the table before their owner dies.
    const int before = flood.sent();
    ASSERT_TRUE(test::eventually([&, began = clock_.monotonic()] {
      return clock_.monotonic() - began > milliseconds(1600) && flood.sent() > before + 1000;
    }));
    first.kill();
    EXPECT_TRUE(std::filesystem::exists("/run/weir/run-weir-test-" + std::to_string(::getpid()) + ".ended"));
    const int alone = flood.sent();
    ASSERT_TRUE(test::eventually([&] { return flood.sent() > alone + 20'000; }));
    second.begin();
    told.add(second.told());
    second.kill();
    flood.stop();
    sent = flood.sent();
  }
  FlowWatch last = start(request());
  ASSERT_TRUE(last.pin());
  EXPECT_EQ(last.pin()->how, PinNews::How::continued) << last.pin()->lost;
  told.add(window(last));
  EXPECT_EQ(told.windows, 5U);
  EXPECT_EQ(told.interfaces, bytes_of(host_->counters()) - bytes_of(at_first)) << "a window is missing, or told twice";
  EXPECT_EQ(told.accounted + told.overflow, told.interfaces);
  EXPECT_EQ(told.unattributed, 0);
  EXPECT_GE(told.interfaces, 2U * static_cast<std::uint64_t>(sent) * (14 + 20 + 8 + 400));
  { const FlowWatch moved = std::move(last); }
  expect_nothing_left();
}

TEST_F(FlowsPinnedTest, OtherSettingsReplaceTheProgramsAndKeepTheCounters) {
  {
    FlowWatch first = start(request());
    EXPECT_EQ(first.pin()->how, PinNews::How::made);
    send_ten();
  }
  send_ten();
  FlowRequest other = request();
  other.elephants.bytes = 1000;
  FlowWatch second = start(other);
  EXPECT_EQ(second.pin()->how, PinNews::How::updated);
  send_ten();
  const FlowWindow seen = window(second);
  Told told;
  told.add(seen);
  EXPECT_EQ(told.unattributed, 0);
  EXPECT_EQ(told.accounted, told.interfaces);
  for (const model::Flow& flow : seen.flows) {
    if (flow.key.tuple.destination_port < kPort) continue;
    EXPECT_EQ(flow.window.packets, 3U) << to_string(flow.key.tuple);
  }
  { const FlowWatch moved = std::move(second); }
  expect_nothing_left();
}

TEST_F(FlowsPinnedTest, AnotherTableReplacesAndSaysWhatIsLost) {
  {
    const FlowWatch first = start(request());
    send_ten();
  }
  FlowWatch second = start(request(1024));
  EXPECT_EQ(second.pin()->how, PinNews::How::replaced);
  EXPECT_THAT(second.pin()->lost, ::testing::HasSubstr("20 flows in a table of 8192 rows, 6840 bytes"));
  send_ten();
  Told told;
  told.add(window(second));
  EXPECT_EQ(told.unattributed, 0);
  EXPECT_EQ(told.accounted, 2U * 10 * (14 + 20 + 8 + 300));
  { const FlowWatch moved = std::move(second); }
  expect_nothing_left();
}

TEST_F(FlowsPinnedTest, TwoOwnersAtATimeAreRefused) {
  FlowWatch first = start(request());
  const auto second = FlowWatch::start(request(), clock_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
  EXPECT_THAT(second.error().message, ::testing::HasSubstr("process " + std::to_string(::getpid())));
  EXPECT_FALSE(DataPlane::unpin(directory_)) << "the pins of a living owner were taken away";
  { const FlowWatch moved = std::move(first); }
  expect_nothing_left();
}

TEST_F(FlowsPinnedTest, PinsThatAreHalfMadeAreRemovedByTheNext) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto plane = DataPlane::start({.flows = 1024, .pin_directory = directory_});
    ::kill(::getpid(), SIGKILL);  // before keep()
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/weir-making/record"));
  EXPECT_THAT(before_.leftovers(milliseconds(0)), ::testing::Not(::testing::IsEmpty()));
  FlowWatch watch = start(request());
  EXPECT_EQ(watch.pin()->how, PinNews::How::made);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/weir-making"));
  send_ten();
  Told told;
  told.add(window(watch));
  EXPECT_EQ(told.accounted, 2U * 10 * (14 + 20 + 8 + 300));
  { const FlowWatch moved = std::move(watch); }
  expect_nothing_left();
}

TEST_F(FlowsPinnedTest, TheCommandPinsGoesOnAndUnpins) {
  const std::vector<std::string> list{"flows",  "list",  "--for",           "100ms",
                                      "--json", "--pin", "--pin-directory", directory_};
  const auto first = test::run_weir(list);
  ASSERT_EQ(first.code, 0) << first.err;
  const auto ended = clock_.realtime();
  const auto second = test::run_weir(list);
  ASSERT_EQ(second.code, 0) << second.err;
  const auto ledger = nlohmann::json::parse(second.out.substr(second.out.rfind('\n', second.out.size() - 2) + 1));
  EXPECT_LT(ledger.at("window").at("start").get<std::string>(), format_utc(ended)) << "the window does not go on";
  const auto unpinned = test::run_weir({"flows", "unpin", "--json", "--pin-directory", directory_});
  EXPECT_EQ(unpinned.code, 0);
  EXPECT_EQ(nlohmann::json::parse(unpinned.out).at("was_pinned"), true);
  EXPECT_THAT(before_.leftovers(), ::testing::IsEmpty());
  const auto again = test::run_weir({"flows", "unpin", "--pin-directory", directory_});
  EXPECT_EQ(again.code, 0);
  EXPECT_EQ(again.out, "nothing is pinned in " + directory_ + "\n");
  EXPECT_EQ(test::run_weir({"flows", "list", "--pin", "--pin-directory", "here"}).code, 2);
}

}  // namespace
}  // namespace weir::observe
