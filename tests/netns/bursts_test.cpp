// Bursts of a few milliseconds, told from a steady sender of the same mean; the truth are tcpdump's timestamps.
#include <gtest/gtest.h>
#include <sys/timerfd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "model/millisecond_bursts.h"
#include "observe/flows/burst_watch.h"
#include "support/process.h"
#include "support/traffic.h"
#include "sys/clock.h"

namespace weir {
namespace {

using std::chrono::milliseconds;
using test::Namespace;

constexpr std::size_t kBytes = 500;
constexpr long kTickNs = 1'000'000;
constexpr std::uint64_t kPeriodTicks = 50;
constexpr std::uint64_t kBurstTicks = 5;
constexpr int kSteadyPackets = 4;  // a tick; a burst has the same in a tenth of the time
constexpr milliseconds kRun{2000};

/// A host that sends, and one that does not listen.
class Sender {
 public:
  explicit Sender(bool bursty) : bursty_(bursty) {
    test::pair(near_, "b0", far_, "b1", 1);
    near_.ip("addr add 10.67.0.1/24 dev b0\n");
    far_.ip("addr add 10.67.0.2/24 dev b1\n");
    socket_ = test::socket_in(near_, AF_INET, SOCK_DGRAM);
    const auto to = test::address("10.67.0.2", test::kPort);
    if (::connect(socket_.get(), test::raw(to), to.size) != 0) throw std::runtime_error("cannot connect");
  }
  void run(const std::stop_token& stop) const {
    const std::array<char, kBytes> data{};
    const sys::Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    const itimerspec each{{0, kTickNs}, {0, kTickNs}};
    ::timerfd_settime(timer.get(), 0, &each, nullptr);
    std::uint64_t tick = 0;
    std::uint64_t due = 0;
    // What was missed is left out: made up for it would be a burst.
    for (; !stop.stop_requested() && ::read(timer.get(), &due, sizeof due) == sizeof due; tick += due) {
      const bool on = tick % kPeriodTicks < kBurstTicks;
      const int packets = !bursty_ ? kSteadyPackets : on ? kSteadyPackets * int{kPeriodTicks / kBurstTicks} : 0;
      for (int i = 0; i < packets; ++i) static_cast<void>(::send(socket_.get(), data.data(), data.size(), 0));
    }
  }
  [[nodiscard]] const Namespace& near() const { return near_; }

 private:
  bool bursty_;
  Namespace near_;
  Namespace far_;
  sys::Fd socket_;
};

/// What tcpdump saw, in milliseconds from `start` on.
std::vector<std::uint32_t> bins_of(const std::string& printed, std::chrono::nanoseconds start) {
  std::vector<std::uint32_t> bins;
  std::istringstream lines(printed);
  for (std::string line; std::getline(lines, line);) {
    const double time = std::strtod(line.c_str(), nullptr) * 1000 - static_cast<double>(start.count()) / 1e6;
    if (time < 0 || line.find(": UDP") == std::string::npos) continue;
    const auto bin = static_cast<std::size_t>(time);
    bins.resize(std::max(bins.size(), bin + 1));
    bins[bin] += kBytes + 42;
  }
  return bins;
}

struct Seen {
  std::vector<std::uint32_t> weir;
  std::vector<std::uint32_t> truth;
};

Seen watch(const Sender& sender) {
  const std::uint32_t ifindex = sender.near().links().at("b0").ifindex;
  test::Process capture({"nsenter", "--net=" + sender.near().path(), "tcpdump", "-Z", "root", "-i", "b0", "-Q", "out",
                         "-nn", "-q", "-tt", "--time-stamp-precision=nano", "-B", "16384", "-s", "64", "-l", "udp"});
  const std::jthread traffic([&](const std::stop_token& stop) { sender.run(stop); });
  EXPECT_TRUE(test::eventually([&] { return capture.out().size() > 1; })) << capture.err();
  const sys::SystemClock clock;
  const auto to_realtime = clock.realtime().time_since_epoch() - clock.monotonic();
  auto bursts = observe::BurstWatch::start({}, clock);
  EXPECT_TRUE(bursts) << (bursts ? "" : bursts.error().message);
  if (!bursts) return {};
  observe::BurstReading reading;
  EXPECT_TRUE(test::eventually([&] {
    reading = bursts->read();
    return !reading.series.empty() && reading.series[0].bins.size() >= std::size_t{kRun.count()};
  }));
  EXPECT_EQ(reading.unplaced_bytes, 0U);
  Seen seen;
  for (const observe::BurstSeries& series : reading.series) {
    if (series.netns != sender.near().id() || series.ifindex != ifindex) continue;
    if (series.direction == model::FlowDirection::tx) seen.weir = series.bins;
  }
  EXPECT_TRUE(test::eventually([&] {
    seen.truth = bins_of(capture.out(), reading.start + to_realtime);
    return seen.truth.size() > seen.weir.size();
  }));
  seen.truth.resize(seen.weir.size());
  return seen;
}

/// A packet near the edge of a millisecond may be on the other side of it.
void expect_alike(const Seen& seen) {
  ASSERT_FALSE(seen.weir.empty());
  double bytes = 0;
  double off = 0;
  for (std::size_t bin = 0; bin < seen.weir.size(); ++bin) {
    bytes += seen.truth[bin];
    off += std::abs(static_cast<double>(seen.weir[bin]) - seen.truth[bin]);
  }
  ASSERT_GT(bytes, 0);
  EXPECT_LT(off / bytes, 0.04);
  const auto weir = model::millisecond_bursts(seen.weir);
  const auto truth = model::millisecond_bursts(seen.truth);
  EXPECT_NEAR(weir.mean_bps, truth.mean_bps, 0.01 * truth.mean_bps);
  EXPECT_NEAR(weir.p99_over_mean, truth.p99_over_mean, 0.1 * truth.p99_over_mean);
  EXPECT_NEAR(weir.bursts_per_s, truth.bursts_per_s, 1);
  EXPECT_NEAR(weir.idle_share, truth.idle_share, 0.02);
  EXPECT_NEAR(weir.variation, truth.variation, 0.1 * truth.variation);
}

TEST(BurstsTest, FindBurstsOfFiveMilliseconds) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const Seen seen = watch(Sender(true));
  expect_alike(seen);
  const auto bursts = model::millisecond_bursts(seen.weir);
  EXPECT_NEAR(bursts.bursts_per_s, 20, 2);
  EXPECT_GT(bursts.p99_over_mean, 5);
  EXPECT_NEAR(bursts.idle_share, 0.9, 0.05);
  ASSERT_TRUE(bursts.period_ms);
  EXPECT_NEAR(*bursts.period_ms, 50, 2);
}

TEST(BurstsTest, FindNoneWhereTheSameIsSentSteadily) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const Seen seen = watch(Sender(false));
  expect_alike(seen);
  const auto bursts = model::millisecond_bursts(seen.weir);
  EXPECT_LT(bursts.p99_over_mean, 3);
  EXPECT_LT(bursts.idle_share, 0.3);
  EXPECT_LT(bursts.variation, 1);
}

TEST(BurstsTest, AreShownByWorkload) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const Sender sender(true);
  const std::jthread traffic([&](const std::stop_token& stop) { sender.run(stop); });
  const test::Outcome shown = test::run_weir({"flows", "footprints", "--bursts", "--json"});
  ASSERT_EQ(shown.code, 0) << shown.err;
  bool found = false;
  std::istringstream lines(shown.out);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    if (!json.contains("millisecond_bursts") || json["direction"] != "tx") continue;
    const auto& bursts = json["millisecond_bursts"];
    if (json["workload"]["id"] != std::to_string(sender.near().id())) continue;
    found = true;
    EXPECT_NEAR(bursts["milliseconds"].get<double>(), 2000, 400);
    EXPECT_NEAR(bursts["bursts_per_s"].get<double>(), 20, 2);
    EXPECT_NEAR(bursts["period_ms"].get<double>(), 50, 2);
  }
  EXPECT_TRUE(found) << shown.out;
  EXPECT_EQ(test::run_weir({"flows", "footprints", "--bursts", "--for", "5s"}).code, 2);
}

}  // namespace
}  // namespace weir
