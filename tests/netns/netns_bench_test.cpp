// `weir netns bench` on the real kernel: that the gate sees a real slowdown and nothing else, that the echo compares
// what it says, and what the command says from the outside. No test is about how fast this machine is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "netns/bench/check.h"
#include "netns/bench/echo.h"
#include "netns/bench/gate.h"
#include "netns/bench/places.h"
#include "netns/bench/sockets.h"
#include "netns/bench/switching.h"
#include "support/leaks.h"
#include "support/netns_fixture.h"
#include "support/process.h"

namespace weir::netns::bench {
namespace {

using nlohmann::json;
using test::run_weir;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Clock = std::chrono::steady_clock;

const Stop kNever = [] { return false; };

class NetnsBench : public test::NetnsFixture {
 protected:
  /// Runs on a pinned worker, as the bench itself does.
  static void on_last_cpu(const std::function<Result<void>()>& body) {
    const auto done = on_worker(value(allowed_cpus()).back(), body);
    ASSERT_TRUE(done) << done.error().message;
  }
  static std::vector<Netns> some(std::size_t count) { return value(make_places(count, kNever)).all; }
};

/// `visits`, each with a delay after it.
Repeat delayed(const Repeat& visits, std::chrono::nanoseconds delay) {
  return [visits, delay](int times) {
    for (int i = 0; i < times; ++i) {
      visits(1);
      for (const auto until = Clock::now() + delay; Clock::now() < until;) continue;
    }
  };
}

TEST_F(NetnsBench, TheGateSeesTenPercentAndNothingWhereNothingIs) {
  const std::vector<Netns> places = some(16);
  on_last_cpu([&]() -> Result<void> {
    const Repeat visits = value(visiting(places, 1));
    const Repeat timed = delayed(visits, std::chrono::nanoseconds(0));
    const double switch_ns = value(measure_switching(places, {.rounds = 3}, kNever)).rows.back().p50_ns;
    // With the clock read in all of them, so that the delay is all that differs.
    const auto slow = [&](int percent) {
      return delayed(visits, std::chrono::nanoseconds(static_cast<std::int64_t>(switch_ns * percent / 100)));
    };
    const std::vector<Repeat> operations{timed, timed, timed, slow(10), slow(20)};
    // Rounds of one run differ by less than runs do.
    constexpr double kInterleaved = 0.03;
    const auto samples = in_getppids(operations, {.rounds = 61}, kNever).samples;
    for (std::size_t same = 1; same < 3; ++same) {
      const Verdict verdict = judge(samples[0], samples[same], {}, kInterleaved);
      EXPECT_FALSE(verdict.worse) << "A/A: " << verdict.ratio.value;
    }
    for (std::size_t slower = 3; slower < 5; ++slower) {
      const Verdict verdict = judge(samples[0], samples[slower], {}, kInterleaved);
      EXPECT_TRUE(verdict.worse) << "A/B " << slower << ": " << verdict.ratio.value;
    }
    return {};
  });
}

TEST_F(NetnsBench, TheGateIsSilentRunAfterRun) {
  const std::vector<Netns> places = some(16);
  on_last_cpu([&]() -> Result<void> {
    int worse = 0;
    std::optional<Baseline> before;
    for (std::uint64_t run = 0; run < 11; ++run) {
      const std::vector<Repeat> operations{value(visiting(places, run))};
      InGetppids costs = in_getppids(operations, {}, kNever);
      Baseline now{{}, places.size(), costs.getppid_ns, std::move(costs.samples.front())};
      if (before && judge(*before, now).worse) ++worse;
      before = std::move(now);
    }
    EXPECT_LE(worse, 1);
    return {};
  });
}

TEST_F(NetnsBench, EveryRowIsMeasuredAndTheThreadComesHome) {
  const std::vector<Netns> places = some(17);
  on_last_cpu([&]() -> Result<void> {
    const std::uint64_t home = test::kernel_here();
    const Switching measured = value(measure_switching(places, {.rounds = 2, .visits = 50, .loops = 1000}, kNever));
    EXPECT_EQ(measured.rows.size(), 3U);
    for (const SwitchCost& row : measured.rows) {
      // A system call lies between the decision and a switch, on any machine.
      EXPECT_GT(row.p50_ns, measured.getppid_ns);
      EXPECT_GE(row.p99_ns, row.p50_ns);
      EXPECT_GT(row.setns_p50_ns, 0);
    }
    EXPECT_GE(measured.flatness, 1);
    EXPECT_EQ(test::kernel_here(), home);
    return {};
  });
}

TEST_F(NetnsBench, ASocketElsewhereCostsTheSwitches) {
  const std::vector<Netns> places = some(4);
  on_last_cpu([&]() -> Result<void> {
    const SocketCost cost = value(measure_sockets(places, {.rounds = 3, .sockets = 200}, kNever));
    EXPECT_GT(cost.strict_ns, cost.plain_ns);
    EXPECT_GT(cost.sticky_ns, cost.plain_ns);
    return {};
  });
}

TEST_F(NetnsBench, SocketsAreWhereTheyShouldBe) {
  const std::vector<Netns> places = some(8);
  const SocketCheck check = value(check_sockets(places, 12'345, 1, value(allowed_cpus()), kNever));
  EXPECT_EQ(check.sockets, 12'345U);
  EXPECT_EQ(check.wrong, 0U);
}

TEST_F(NetnsBench, AStopEndsTheCheckWithWhatWasAsked) {
  const std::vector<Netns> places = some(2);
  std::atomic<int> asked{0};
  const Stop soon = [&asked] { return ++asked > 5; };
  const SocketCheck check = value(check_sockets(places, 1'000'000'000, 1, {value(allowed_cpus()).back()}, soon));
  EXPECT_EQ(check.sockets, 5000U);
}

TEST_F(NetnsBench, TheEchoMeasuresEveryMethodOnBothSides) {
  const std::vector<Netns> places = some(8);
  const std::vector<int> cpus = value(allowed_cpus());
  const EchoPlan plan{.connections = 16,
                      .outstanding = 8,
                      .rounds = 3,
                      .warm_up = 100,
                      .operations = 500,
                      .server_cpu = cpus.back(),
                      .load_cpu = cpus.front()};
  on_last_cpu([&]() -> Result<void> {
    const Echo echo = value(measure_echo(places, plan, kNever));
    EXPECT_EQ(echo.rows.size(), 8U);
    EXPECT_EQ(echo.rounds, 3);
    EXPECT_EQ(echo.rows.front().cost.value, 1);
    for (const EchoCost& row : echo.rows) {
      EXPECT_THAT(row.namespaces, AnyOf(1, 8));
      EXPECT_GT(row.cpu_ns_per_op, 0);
      EXPECT_GT(row.ops_per_s, 0);
      EXPECT_LE(row.cost.interval.low, row.cost.value);
      EXPECT_GE(row.cost.interval.high, row.cost.value);
    }
    return {};
  });
}

TEST_F(NetnsBench, TheFootprintIsPerNamespace) {
  const Places places = value(make_places(64, kNever));
  EXPECT_EQ(places.footprint.namespaces, 64U);
  EXPECT_EQ(places.footprint.descriptors, 64);
  EXPECT_GT(places.footprint.create_ns, 0);
}

TEST_F(NetnsBench, TooFewDescriptorsAreSaidWithTheNeed) {
  EXPECT_EQ(test::in_child([] {
              const rlimit small{64, 64};
              // As somebody without rights, who may not raise the limit.
              if (::setrlimit(RLIMIT_NOFILE, &small) != 0 || ::setuid(65534) != 0) return 2;
              const auto allowed = allow_descriptors(1000);
              return !allowed && allowed.error().message.find("1000") != std::string::npos ? 0 : 1;
            }),
            0);
}

class NetnsBenchCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  void TearDown() override {
    std::error_code ignored;
    std::filesystem::remove(file_, ignored);
  }
  std::string file_ = "/tmp/weir-netns-bench-" + std::to_string(::getpid()) + ".json";
};

TEST_F(NetnsBenchCommand, MeasuresAllAndLeavesNothing) {
  const auto before = test::HostSnapshot::take();
  const auto run = run_weir(
      {"netns", "bench", "--namespaces", "8", "--connections", "16", "--rounds", "2", "--sockets", "1e3", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json document = json::parse(run.out);
  EXPECT_EQ(document["schema"], "weir.netns_bench/1");
  EXPECT_TRUE(document["switch_decision_ns"].is_number());
  EXPECT_EQ(document["switch_ns"].size(), 2U);
  EXPECT_EQ(document["echo"].size(), 8U);
  EXPECT_EQ(document["socket_check"]["sockets"], 1000);
  EXPECT_EQ(document["socket_check"]["wrong_namespace"], 0);
  EXPECT_EQ(document["memory"]["namespaces"], 8);
  EXPECT_THAT(before.leftovers(), IsEmpty());
}

TEST_F(NetnsBenchCommand, ABaselineIsSavedAndComparedAndRefusedElsewhere) {
  const std::vector<std::string> few{"netns", "bench", "--only", "switching", "--namespaces", "4", "--rounds", "1"};
  auto save = few;
  save.insert(save.end(), {"--save", file_});
  ASSERT_EQ(run_weir(save).code, 0);
  auto compare = few;
  compare.insert(compare.end(), {"--baseline", file_});
  const auto compared = run_weir(compare);
  EXPECT_THAT(compared.code, AnyOf(0, 1)) << compared.err;
  EXPECT_THAT(compared.out, HasSubstr("times the baseline's"));

  // A baseline at half of the cost: now it is twice as dear.
  json baseline = json::parse(std::ifstream(file_));
  for (json& sample : baseline["switch_in_getppids"]) sample = sample.get<double>() / 2;
  std::ofstream(file_) << baseline;
  const auto worse = run_weir(compare);
  // Where the machine has become busier or calmer between the two runs, nothing is decided.
  EXPECT_THAT(worse.code, AnyOf(0, 1)) << worse.err;
  EXPECT_THAT(worse.out, HasSubstr(worse.code == 1 ? "WORSE" : "undecided"));

  baseline["key"]["kernel"] = "1.0.0";
  std::ofstream(file_) << baseline;
  const auto refused = run_weir(compare);
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("another kernel: 1.0.0"));
  EXPECT_THAT(refused.out, IsEmpty());
}

TEST_F(NetnsBenchCommand, WrongWordsExitWithTwo) {
  std::ofstream(file_) << "{}";
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"--namespaces", "0"}, "--namespaces"},
      {{"--namespaces", "many"}, "--namespaces"},
      {{"--rounds", "0"}, "--rounds"},
      {{"--connections", "0"}, "--connections"},
      {{"--sockets", "1.5"}, "--sockets"},
      {{"--sockets", "-1"}, "--sockets"},
      {{"--sockets", "lots"}, "--sockets"},
      {{"--only", "echos"}, "did you mean echo"},
      {{"--baseline", "/nonexistent"}, "cannot read /nonexistent"},
      {{"--baseline", file_}, "no baseline"},
      {{"--only", "echo", "--save", file_}, "switching"},
  };
  for (const auto& [words, said] : cases) {
    std::vector<std::string> command{"netns", "bench"};
    command.insert(command.end(), words.begin(), words.end());
    const auto run = run_weir(command);
    EXPECT_EQ(run.code, 2) << words[0] << " " << words[1];
    EXPECT_THAT(run.err, HasSubstr(said));
    EXPECT_THAT(run.err, Not(HasSubstr("terminate")));
  }
}

TEST_F(NetnsBenchCommand, WithoutRightsItExitsWithThree) {
  const std::string copy = file_ + "-weir";  // where that user may read it
  std::filesystem::copy_file(WEIR_BINARY, copy);
  const auto run = test::run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy, "netns", "bench"});
  std::filesystem::remove(copy);
  EXPECT_EQ(run.code, 3) << run.err;
  EXPECT_THAT(run.err, HasSubstr("root"));
}

TEST_F(NetnsBenchCommand, AnInterruptPrintsWhatThereIs) {
  test::Process bench({WEIR_BINARY, "netns", "bench", "--only", "sockets", "--sockets", "1e12", "--namespaces", "4"});
  const auto cpus = allowed_cpus();
  ASSERT_TRUE(cpus);
  // A thread for each CPU is there once the sockets are being opened.
  ASSERT_TRUE(test::eventually([&] {
    std::error_code error;
    std::size_t threads = 0;
    const auto tasks = "/proc/" + std::to_string(bench.pid()) + "/task";
    for (std::filesystem::directory_iterator at(tasks, error), end; !error && at != end; at.increment(error)) ++threads;
    return threads > cpus->size();
  }));
  bench.signal(SIGINT);
  const auto ended = bench.wait();
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("0 in a wrong namespace"));
  EXPECT_THAT(ended.out, HasSubstr("Interrupted"));
}

}  // namespace
}  // namespace weir::netns::bench
