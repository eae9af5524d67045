// The statistics and the regression gate of `weir netns bench`, on samples with known truth, and its texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "cli/render_netns_bench.h"
#include "netns/bench/gate.h"
#include "netns/bench/statistics.h"
#include "netns/bench/switching.h"

namespace weir::netns::bench {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(BenchStatistics, TheMedianIsTheMiddle) {
  EXPECT_EQ(median(std::vector<double>{}), 0);
  EXPECT_EQ(median(std::vector<double>{3}), 3);
  EXPECT_EQ(median(std::vector<double>{9, 1, 5}), 5);
  EXPECT_EQ(median(std::vector<double>{9, 1, 5, 7}), 6);
}

TEST(BenchStatistics, AQuantileIsAValueThatOccurs) {
  const std::vector<double> values{4, 1, 3, 2};
  EXPECT_EQ(quantile(values, 0), 1);
  EXPECT_EQ(quantile(values, 0.5), 3);
  EXPECT_EQ(quantile(values, 0.99), 4);
  EXPECT_EQ(quantile(values, 1), 4);
  EXPECT_EQ(quantile(std::vector<double>{}, 0.5), 0);
}

/// Rounds of a machine with other work: a few per cent of spread, and now and then a round that is far off.
std::vector<double> rounds(std::mt19937_64& random, double truth, double spread = 0.03, std::size_t count = 41) {
  std::normal_distribution<double> normal(0, spread);
  std::bernoulli_distribution disturbed(0.1);
  std::uniform_real_distribution<double> worse(1.1, 2);
  std::vector<double> samples(count);
  for (double& sample : samples) sample = truth * std::exp(normal(random)) * (disturbed(random) ? worse(random) : 1);
  return samples;
}

TEST(BenchStatistics, TheIntervalHoldsTheTruthAsOftenAsItSays) {
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal(100, 5);
  constexpr int kTrials = 300;
  int held = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> values(31);
    for (double& value : values) value = normal(random);
    const Interval interval = median_interval(values, {.seed = static_cast<std::uint64_t>(trial), .resamples = 200});
    held += interval.low <= 100 && 100 <= interval.high ? 1 : 0;
  }
  EXPECT_GE(held, kTrials * 90 / 100);
  EXPECT_LE(held, kTrials * 995 / 1000);
}

TEST(BenchStatistics, TheSameSeedGivesTheSameInterval) {
  std::mt19937_64 random(3);
  const std::vector<double> values = rounds(random, 10);
  const Interval once = median_interval(values, {.seed = 5});
  const Interval again = median_interval(values, {.seed = 5});
  EXPECT_EQ(once.low, again.low);
  EXPECT_EQ(once.high, again.high);
}

TEST(BenchStatistics, PairedRoundsForgetWhatDisturbedBoth) {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> weather(1, 3);
  std::vector<double> of;
  std::vector<double> to;
  for (int i = 0; i < 31; ++i) {
    const double here = weather(random);
    of.push_back(1.05 * here);
    to.push_back(here);
  }
  const Ratio ratio = median_of_ratios(of, to);
  EXPECT_THAT(ratio.value, DoubleNear(1.05, 1e-9));
  EXPECT_THAT(ratio.interval.low, DoubleNear(1.05, 1e-9));
  EXPECT_THAT(ratio.interval.high, DoubleNear(1.05, 1e-9));
}

/// How often the gate calls the second of two runs worse. Runs differ by their own per cent and a half beside what
/// their rounds do: memory lies elsewhere.
int alarms(double slowdown, int comparisons) {
  std::mt19937_64 random(42);
  std::normal_distribution<double> run(0, 0.015);
  int count = 0;
  for (int i = 0; i < comparisons; ++i) {
    const auto then = rounds(random, 8.5 * std::exp(run(random)));
    const auto now = rounds(random, 8.5 * slowdown * std::exp(run(random)));
    count += judge(then, now, {.seed = static_cast<std::uint64_t>(i), .resamples = 200}).worse ? 1 : 0;
  }
  return count;
}

TEST(BenchGate, NoiseIsNoRegression) {
  EXPECT_LE(alarms(1.0, 500), 10);
}

TEST(BenchGate, TenPercentIsOne) {
  EXPECT_GE(alarms(1.10, 200), 190);
}

TEST(BenchGate, TwentyPercentAlwaysIs) {
  EXPECT_EQ(alarms(1.20, 200), 200);
}

TEST(BenchGate, FivePercentInterleavedIsSeenWithASmallerTolerance) {
  std::mt19937_64 random(1);
  int seen = 0;
  for (std::uint64_t i = 0; i < 100; ++i) {
    seen += judge(rounds(random, 8), rounds(random, 8 * 1.05), {.seed = i, .resamples = 200}, 0.02).worse ? 1 : 0;
  }
  EXPECT_GE(seen, 95);
}

TEST(BenchGate, FasterIsBetterAndNotWorse) {
  std::mt19937_64 random(9);
  const Verdict verdict = judge(rounds(random, 10), rounds(random, 8));
  EXPECT_TRUE(verdict.better);
  EXPECT_FALSE(verdict.worse);
}

TEST(BenchGate, LargeButUncertainIsNoRegression) {
  const std::vector<double> then{8, 8, 8, 8, 8};
  const std::vector<double> now{7, 7, 9, 30, 30};
  EXPECT_FALSE(judge(then, now).worse);
}

Baseline baseline() {
  return {
      .key = {"6.18.44", "AMD EPYC", "release"}, .namespaces = 16, .getppid_ns = 164, .in_getppids = {8.5, 8.25, 9}};
}

TEST(BenchGate, AMachineAtAnotherSpeedDecidesNothing) {
  const Baseline then = baseline();
  Baseline now = then;
  for (double& sample : now.in_getppids) sample *= 1.2;
  EXPECT_TRUE(judge(then, now).worse);
  now.getppid_ns *= 1.3;
  EXPECT_FALSE(judge(then, now).worse);
  EXPECT_FALSE(judge(then, now).calm);
  EXPECT_FALSE(judge(now, then).better);
}

TEST(BenchGate, ABaselineIsReadAsItWasWritten) {
  const auto read = Baseline::parse(baseline().json());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->key, baseline().key);
  EXPECT_EQ(read->namespaces, 16U);
  EXPECT_EQ(read->getppid_ns, 164);
  EXPECT_THAT(read->in_getppids, ElementsAre(8.5, 8.25, 9));
}

TEST(BenchGate, WhatIsNoBaselineIsRefused) {
  std::string zero = baseline().json();
  zero.replace(zero.find("8.25"), 4, "-1.0");
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("{\"schema\":\"weir.netns/1\"}"),
        std::string("{\"schema\":\"weir.netns_baseline/1\"}"), zero,
        std::string(R"({"schema":"weir.netns_baseline/1","key":{"kernel":"1","cpu":"2","build":"3"},)"
                    R"("namespaces":16,"switch_in_getppids":[]})")}) {
    const auto read = Baseline::parse(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, Errc::usage);
    EXPECT_THAT(read.error().message, HasSubstr("no baseline"));
  }
}

TEST(BenchGate, AnotherMachineIsNotCompared) {
  const GateKey here = baseline().key;
  EXPECT_TRUE(comparable(baseline(), here, 16));
  for (const auto& [key, namespaces, word] :
       {std::tuple{GateKey{"6.1.0", here.cpu, here.build}, 16U, "kernel"},
        std::tuple{GateKey{here.kernel, "another", here.build}, 16U, "CPU"},
        std::tuple{GateKey{here.kernel, here.cpu, "debug"}, 16U, "build"}, std::tuple{here, 2U, "namespaces"}}) {
    const auto compared = comparable(baseline(), key, namespaces);
    ASSERT_FALSE(compared);
    EXPECT_EQ(compared.error().code, Errc::usage);
    EXPECT_THAT(compared.error().message, HasSubstr(word));
  }
}

TEST(BenchSwitching, RowsEndWithAllNamespaces) {
  EXPECT_THAT(switch_counts(1), ElementsAre(1));
  EXPECT_THAT(switch_counts(16), ElementsAre(1, 16));
  EXPECT_THAT(switch_counts(1024), ElementsAre(1, 16, 64, 512, 1024));
  EXPECT_THAT(switch_counts(10'000), ElementsAre(1, 16, 64, 512, 1024, 4096, 10'000));
}

Report report() {
  Report report;
  report.machine = baseline().key;
  report.footprint = {.namespaces = 1024,
                      .create_ns = 6e5,
                      .slab_bytes = 1024LL * 225'280,
                      .percpu_bytes = 1024 * 6144,
                      .available_bytes = 1024 * 256'000,
                      .resident_bytes = 1024 * 96,
                      .descriptors = 1024};
  report.switching = Switching{.decision_ns = 0.2,
                               .scope_there_ns = 2,
                               .getppid_ns = 140,
                               .rows = {{.namespaces = 1,
                                         .p50_ns = 1200,
                                         .p99_ns = 1400,
                                         .setns_p50_ns = 1180,
                                         .setns_p99_ns = 1350,
                                         .getppids = 8.57}},
                               .flatness = 1.0};
  report.gate = baseline();
  report.echo = Echo{.rows = {{.namespaces = 1024,
                               .method = EchoMethod::cached,
                               .cpu_ns_per_op = 7000,
                               .ops_per_s = 120'000,
                               .events_per_wait = 4,
                               .cost = {1.25, {1.2, 1.3}}}},
                     .control = {1.001, {0.998, 1.004}},
                     .connections = 1024,
                     .outstanding = 64,
                     .rounds = 31};
  report.check = SocketCheck{.sockets = 200'000, .wrong = 0, .seconds = 1, .threads = 2};
  return report;
}

TEST(BenchRender, TheDocumentHasThePromisedShape) {
  const auto document = cli::netns_bench_json(report());
  EXPECT_EQ(document["schema"], "weir.netns_bench/1");
  EXPECT_EQ(document["switch_decision_ns"], 0.2);
  EXPECT_EQ(document["switch_ns"][0]["namespaces"], 1);
  EXPECT_EQ(document["switch_ns"][0]["p50"], 1200);
  EXPECT_EQ(document["switch_ns"][0]["p99"], 1400);
  const auto& row = document["echo"][0];
  EXPECT_EQ(row["namespaces"], 1024);
  EXPECT_EQ(row["method"], "cached");
  EXPECT_EQ(row["cpu_ns_per_op"], 7000);
  EXPECT_EQ(row["ops_per_s"], 120'000);
  EXPECT_THAT(row["overhead_pct"].get<double>(), DoubleNear(25, 1e-9));
  EXPECT_THAT(row["ci_pct"][0].get<double>(), DoubleNear(20, 1e-9));
  EXPECT_THAT(row["ci_pct"][1].get<double>(), DoubleNear(30, 1e-9));
  EXPECT_EQ(document["socket_check"]["wrong_namespace"], 0);
  EXPECT_EQ(document["memory"]["descriptors_each"], 1);
  EXPECT_TRUE(document["socket_ns"].is_null());
}

TEST(BenchRender, PartsThatWereNotMeasuredAreLeftOut) {
  Report little;
  little.footprint.namespaces = 1;
  const std::string text = cli::render_netns_bench(little);
  EXPECT_THAT(text, HasSubstr("1 namespace in this process"));
  EXPECT_THAT(text, testing::Not(HasSubstr("Switching")));
  EXPECT_TRUE(cli::netns_bench_json(little)["echo"].empty());
  EXPECT_TRUE(cli::netns_bench_json(little)["gate"].is_null());
}

TEST(BenchRender, AVerdictIsSaidInWords) {
  EXPECT_THAT(cli::render_netns_bench(report()), HasSubstr("--baseline FILE compares"));
  Verdict verdict{.ratio = {1.12, {1.1, 1.14}}, .worse = true};
  EXPECT_THAT(cli::render_netns_bench(report(), verdict), HasSubstr("WORSE by more than 5 %"));
  verdict = {.ratio = {1.01, {0.99, 1.03}}};
  EXPECT_THAT(cli::render_netns_bench(report(), verdict), HasSubstr("no worse"));
  EXPECT_EQ(cli::netns_bench_json(report(), verdict)["gate"]["worse"], false);
}

}  // namespace
}  // namespace weir::netns::bench
