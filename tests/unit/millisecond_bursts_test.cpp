#include "model/millisecond_bursts.h"

#include <gtest/gtest.h>

#include <vector>

namespace weir::model {
namespace {

TEST(MillisecondBurstsTest, KnowSteadyTraffic) {
  const MillisecondBursts steady = millisecond_bursts(std::vector<std::uint32_t>(2000, 1000));
  EXPECT_DOUBLE_EQ(steady.mean_bps, 8e6);
  EXPECT_DOUBLE_EQ(steady.p99_over_mean, 1);
  EXPECT_EQ(steady.bursts_per_s, 0);
  EXPECT_EQ(steady.idle_share, 0);
  EXPECT_EQ(steady.variation, 0);
  EXPECT_FALSE(steady.period_ms);
}

TEST(MillisecondBurstsTest, KnowBurstsThatComeAgain) {
  std::vector<std::uint32_t> bytes(2000);
  for (std::size_t bin = 0; bin < bytes.size(); ++bin) bytes[bin] = bin % 50 < 5 ? 10'000 : 0;
  bytes[2] = 0;  // a hole within a burst does not make two of it
  const MillisecondBursts bursty = millisecond_bursts(bytes);
  EXPECT_EQ(bursty.bursts_per_s, 20);
  EXPECT_NEAR(bursty.p99_over_mean, 10, 0.1);
  EXPECT_NEAR(bursty.idle_share, 0.9, 0.01);
  EXPECT_NEAR(bursty.variation, 3, 0.05);
  ASSERT_TRUE(bursty.period_ms);
  EXPECT_EQ(*bursty.period_ms, 50);
}

TEST(MillisecondBurstsTest, FindNoPeriodInWhatComesByChance) {
  std::vector<std::uint32_t> bytes(2000);
  std::uint32_t state = 1;
  for (std::uint32_t& bin : bytes) {
    state = state * 1664525U + 1013904223U;
    bin = state >> 30U == 0 ? 10'000 : 0;
  }
  EXPECT_FALSE(millisecond_bursts(bytes).period_ms);
}

TEST(MillisecondBurstsTest, SayNothingOfSilence) {
  EXPECT_EQ(millisecond_bursts(std::vector<std::uint32_t>(100)).bytes, 0U);
  EXPECT_EQ(millisecond_bursts({}).milliseconds, 0U);
  EXPECT_FALSE(millisecond_bursts(std::vector<std::uint32_t>{5}).period_ms);
}

}  // namespace
}  // namespace weir::model
