// What hashing would give: the statistics under every verdict.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "reason/doctor/spread.h"
#include "reason/doctor/thresholds.h"

namespace weir {
namespace {

using reason::chance_of_concentration;
using reason::expected_concentration;
using reason::flow_mix;
using reason::FlowMix;

/// Flows with their packets all sampled, often enough that sampling plays no part.
FlowMix mix(std::vector<double> weights) {
  FlowMix flows;
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  double squares = 0;
  for (double& weight : weights) {
    weight /= sum;
    squares += weight * weight;
  }
  flows.weights = std::move(weights);
  flows.distinct = flows.weights.size();
  flows.effective = 1 / squares;
  flows.top_share = flows.weights.front();
  return flows;
}

double drawn_concentration(const FlowMix& flows, std::uint32_t queues, std::mt19937_64& random) {
  std::vector<double> load(queues);
  for (const double weight : flows.weights) load[random() % queues] += weight;
  return std::inner_product(load.begin(), load.end(), load.begin(), 0.0);
}

model::QueueWindow sampled(std::vector<std::uint64_t> flows, std::uint64_t more = 0, std::uint64_t overflow = 0) {
  model::QueueWindow window;
  window.sample.sampled = std::accumulate(flows.begin(), flows.end(), more);
  window.sample.flows = std::move(flows);
  window.sample.flows_overflow = overflow;
  return window;
}

TEST(Spread, ExpectationIsTheMeanOfDraws) {
  std::mt19937_64 random(1);
  for (const auto& weights : {std::vector<double>(10, 1.0), std::vector<double>{50, 10, 10, 5, 5, 5, 5, 5, 5}}) {
    const FlowMix flows = mix(weights);
    for (const std::uint32_t queues : {2U, 4U, 64U}) {
      double sum = 0;
      constexpr int kDraws = 20000;
      for (int i = 0; i < kDraws; ++i) sum += drawn_concentration(flows, queues, random);
      EXPECT_NEAR(sum / kDraws, expected_concentration(flows, queues), 0.005);
    }
  }
}

// The analytic tail against plain counting, where counting can see it. Within a factor of three is within the margin
// that thresholds::kChance leaves.
TEST(Spread, TailAgreesWithDraws) {
  std::mt19937_64 random(2);
  std::vector<double> elephant(400, 1.0);
  elephant[0] = 200;
  std::vector<double> ladder(300);
  std::iota(ladder.rbegin(), ladder.rend(), 1.0);
  for (const auto& weights : {std::vector<double>(250, 1.0), elephant, ladder}) {
    const FlowMix flows = mix(weights);
    for (const std::uint32_t queues : {2U, 4U, 16U, 64U}) {
      constexpr int kDraws = 20000;
      std::vector<double> seen;
      for (int i = 0; i < kDraws; ++i) seen.push_back(drawn_concentration(flows, queues, random));
      std::ranges::sort(seen);
      const double at = seen[kDraws - kDraws / 1000];
      const double chance = chance_of_concentration(flows, queues, at);
      EXPECT_GT(chance, 0.001 / 3) << queues << " queues, " << weights.size() << " flows";
      EXPECT_LT(chance, 0.001 * 3) << queues << " queues, " << weights.size() << " flows";
    }
  }
}

struct ChanceCase {
  const char* what;
  std::vector<double> flows;
  std::uint32_t queues;
  double concentration;
  bool by_chance;
};

TEST(Spread, ChanceIsRuledOutOnlyWhereItShould) {
  std::vector<double> mice(1001, 1.0);
  mice[0] = 1000;
  const ChanceCase cases[] = {
      {"one flow on one queue", {1}, 4, 1.0, true},
      {"two flows on one queue", {1, 1}, 2, 1.0, true},
      {"three of four queues", {1, 1, 1}, 4, 1.0, true},
      {"16 flows on one of 2: 2^-15", std::vector<double>(16, 1.0), 2, 1.0, true},
      {"32 flows on one of 2: 2^-31", std::vector<double>(32, 1.0), 2, 1.0, false},
      {"256 flows on one of 64", std::vector<double>(256, 1.0), 64, 1.0, false},
      {"2000 flows as 50/25/25/0", std::vector<double>(2000, 1.0), 4, 0.375, false},
      {"an elephant of half, mice spread", mice, 4, 0.25 + 2 * 0.5 * 0.125 + 0.0625 * 1.01, true},
      {"an elephant of half, mice with it", mice, 4, 1.0, false},
      {"more even than expected", std::vector<double>(100, 1.0), 4, 0.25, true},
  };
  for (const ChanceCase& row : cases) {
    const double chance = chance_of_concentration(mix(row.flows), row.queues, row.concentration);
    EXPECT_EQ(chance > reason::thresholds::kChance, row.by_chance) << row.what << ": " << chance;
    EXPECT_LE(chance, 1) << row.what;
  }
  EXPECT_EQ(chance_of_concentration({}, 4, 1.0), 1) << "nothing is known about the flows";
}

TEST(FlowMix, CorrectsTheEffectiveNumberForSampling) {
  // 256 equal flows of which 60 packets are sampled: most once, a few twice.
  std::mt19937_64 random(3);
  double sum = 0;
  for (int i = 0; i < 200; ++i) {
    std::vector<std::uint64_t> flows(256);
    for (int packet = 0; packet < 60; ++packet) ++flows[random() % 256];
    std::erase(flows, 0U);
    const auto window = sampled(flows);
    sum += 1 / flow_mix({&window}).effective;
  }
  EXPECT_NEAR(sum / 200, 1.0 / 256, 0.0008);
}

TEST(FlowMix, OverflowIsMoreOfTheSame) {
  const auto full = sampled(std::vector<std::uint64_t>(100, 10));
  const auto half = sampled(std::vector<std::uint64_t>(50, 10), 500, 500);
  EXPECT_NEAR(flow_mix({&half}).weights.size(), flow_mix({&full}).weights.size(), 1);
  // A counter for the whole host says nothing of a device whose samples are all accounted for.
  const auto other = sampled({100, 100}, 0, 1'000'000);
  EXPECT_EQ(flow_mix({&other}).weights.size(), 2U);
}

TEST(FlowMix, NothingKnown) {
  const auto none = sampled({}, 100);
  EXPECT_TRUE(flow_mix({&none}).weights.empty());
  EXPECT_TRUE(flow_mix({}).weights.empty());
}

}  // namespace
}  // namespace weir
