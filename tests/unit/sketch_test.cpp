// Sketches against exact computation: their errors, merging, and their bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "model/sketch/distinct_sketch.h"
#include "model/sketch/quantile_sketch.h"
#include "model/sketch/top_sketch.h"

namespace weir::model {
namespace {

std::vector<double> random_values(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  std::lognormal_distribution<double> values(8, 2);
  std::vector<double> all(count);
  for (double& value : all) value = random() % 20 == 0 ? 0 : values(random);
  return all;
}

double exact_quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

TEST(QuantileSketchTest, IsWithinOnePercent) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto values = random_values(seed, 5000);
    QuantileSketch sketch;
    for (const double value : values) sketch.add(value);
    for (const double q : {0.0, 0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0}) {
      const double exact = exact_quantile(values, q);
      EXPECT_NEAR(sketch.quantile(q), exact, exact * QuantileSketch::kRelativeError * 1.0001) << q << " seed " << seed;
    }
    EXPECT_EQ(sketch.max(), std::ranges::max(values));
    EXPECT_EQ(sketch.count(), values.size());
  }
}

TEST(QuantileSketchTest, MergedIsTheSketchOfBoth) {
  const auto a = random_values(1, 3000);
  const auto b = random_values(2, 1000);
  QuantileSketch first;
  QuantileSketch second;
  QuantileSketch both;
  for (const double value : a) {
    first.add(value);
    both.add(value);
  }
  for (const double value : b) {
    second.add(value);
    both.add(value);
  }
  first.merge(second);
  EXPECT_EQ(first, both);
  first.merge(QuantileSketch());
  EXPECT_EQ(first, both);
  QuantileSketch none;
  none.merge(both);
  EXPECT_EQ(none, both);
}

TEST(QuantileSketchTest, KeepsHighQuantilesWhenItCollapsesTheLowest) {
  QuantileSketch sketch;
  std::vector<double> values;
  for (int i = 0; i < 40000; ++i) values.push_back(std::pow(10.0, -8 + i * 25.0 / 40000));
  for (const double value : values) sketch.add(value);
  for (const double q : {0.7, 0.9, 0.99}) {
    const double exact = exact_quantile(values, q);
    EXPECT_NEAR(sketch.quantile(q), exact, exact * 0.0101) << q;
  }
  EXPECT_LT(sketch.to_bytes().size(), 5 * QuantileSketch::kBins);
}

TEST(QuantileSketchTest, TakesWhatIsNoNumberForZero) {
  QuantileSketch sketch;
  sketch.add(-5);
  sketch.add(std::nan(""));
  sketch.add(INFINITY);
  EXPECT_EQ(sketch.quantile(0), 0);
  EXPECT_EQ(QuantileSketch().quantile(0.5), 0);
  EXPECT_GT(sketch.quantile(1), 1e17);
}

TEST(DistinctSketchTest, IsWithinItsStatedError) {
  for (const std::size_t count : {1U, 5U, 50U, 500U, 2000U, 5000U, 100000U}) {
    double square = 0;
    constexpr int kRounds = 30;
    for (int round = 0; round < kRounds; ++round) {
      DistinctSketch sketch;
      for (std::size_t i = 0; i < count; ++i) {
        const std::string thing = std::to_string(round) + "/" + std::to_string(i);
        sketch.add(thing);
        if (i % 3 == 0) sketch.add(thing);
      }
      const double error = sketch.estimate() / static_cast<double>(count) - 1;
      EXPECT_LT(std::abs(error), 4.5 * DistinctSketch::kStandardError) << count;
      square += error * error;
    }
    EXPECT_LT(std::sqrt(square / kRounds), 1.5 * DistinctSketch::kStandardError) << count;
  }
  EXPECT_EQ(DistinctSketch().estimate(), 0);
}

TEST(DistinctSketchTest, MergedIsTheSketchOfBoth) {
  DistinctSketch first;
  DistinctSketch second;
  DistinctSketch both;
  for (int i = 0; i < 3000; ++i) {
    (i % 3 == 0 ? first : second).add(std::to_string(i));
    both.add(std::to_string(i));
  }
  first.merge(second);
  EXPECT_EQ(first, both);
  DistinctSketch none;
  none.merge(both);
  EXPECT_EQ(none, both);
}

struct Stream {
  std::vector<std::pair<std::string, std::uint64_t>> items;
  std::map<std::string, std::uint64_t> exact;
  std::uint64_t total = 0;
};

Stream skewed_stream(std::uint64_t seed, std::size_t length) {
  std::mt19937_64 random(seed);
  std::lognormal_distribution<double> who(3, 2);
  Stream stream;
  for (std::size_t i = 0; i < length; ++i) {
    const std::string key = "peer" + std::to_string(static_cast<int>(who(random)));
    const std::uint64_t weight = 1 + random() % 1500;
    stream.items.emplace_back(key, weight);
    stream.exact[key] += weight;
    stream.total += weight;
  }
  return stream;
}

void add_all(TopSketch& sketch, const Stream& stream) {
  for (const auto& [key, weight] : stream.items) sketch.add(key, weight);
}

void expect_bounds(const TopSketch& sketch, const std::map<std::string, std::uint64_t>& exact, std::size_t k) {
  const std::uint64_t most = sketch.total() / k;
  EXPECT_LE(sketch.floor(), most);
  std::set<std::string> kept;
  for (const TopSketch::Entry& entry : sketch.top(k)) {
    kept.insert(entry.key);
    const std::uint64_t truth = exact.at(entry.key);
    EXPECT_LE(truth, entry.weight) << entry.key;
    EXPECT_GE(truth + entry.error, entry.weight) << entry.key;
    EXPECT_LE(entry.error, most) << entry.key;
  }
  EXPECT_LE(kept.size(), k);
  for (const auto& [key, truth] : exact) {
    if (kept.contains(key)) continue;
    EXPECT_LE(truth, most) << key;
  }
}

TEST(TopSketchTest, IsWithinTotalOverK) {
  for (const std::size_t k : {1U, 8U, 64U, 256U}) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      const Stream stream = skewed_stream(seed, 20000);
      TopSketch sketch(k);
      add_all(sketch, stream);
      EXPECT_EQ(sketch.total(), stream.total);
      expect_bounds(sketch, stream.exact, k);
    }
  }
}

TEST(TopSketchTest, MergingKeepsTheBound) {
  for (const std::size_t k : {1U, 8U, 64U}) {
    std::map<std::string, std::uint64_t> exact;
    TopSketch all(k);
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
      const Stream stream = skewed_stream(seed, 3000);
      TopSketch part(k);
      add_all(part, stream);
      all.merge(part);
      for (const auto& [key, weight] : stream.exact) exact[key] += weight;
      expect_bounds(all, exact, k);
    }
    const Stream more = skewed_stream(77, 3000);  // a merged one goes on
    add_all(all, more);
    for (const auto& [key, weight] : more.exact) exact[key] += weight;
    expect_bounds(all, exact, k);
  }
}

TEST(TopSketchTest, MergedIsTheSketchOfBothWhileAllFit) {
  TopSketch first(8);
  TopSketch second(8);
  TopSketch both(8);
  for (const auto& [key, weight] : {std::pair("a", 5), std::pair("b", 7)}) {
    first.add(key, static_cast<std::uint64_t>(weight));
    both.add(key, static_cast<std::uint64_t>(weight));
  }
  for (const auto& [key, weight] : {std::pair("b", 1), std::pair("c", 9)}) {
    second.add(key, static_cast<std::uint64_t>(weight));
    both.add(key, static_cast<std::uint64_t>(weight));
  }
  first.merge(second);
  EXPECT_EQ(first.top(8), both.top(8));
  EXPECT_EQ(first.top(1).front().key, "c");
}

TEST(SketchBytesTest, ComeBackAsTheyWere) {
  QuantileSketch quantiles;
  for (const double value : random_values(3, 2000)) quantiles.add(value);
  const auto quantiles_again = QuantileSketch::from_bytes(quantiles.to_bytes());
  ASSERT_TRUE(quantiles_again);
  EXPECT_EQ(*quantiles_again, quantiles);
  DistinctSketch distinct;
  for (int i = 0; i < 700; ++i) distinct.add(std::to_string(i));
  const auto distinct_again = DistinctSketch::from_bytes(distinct.to_bytes());
  ASSERT_TRUE(distinct_again);
  EXPECT_EQ(*distinct_again, distinct);
  TopSketch top(16);
  add_all(top, skewed_stream(5, 2000));
  const auto top_again = TopSketch::from_bytes(top.to_bytes());
  ASSERT_TRUE(top_again);
  EXPECT_EQ(top_again->top(16), top.top(16));
  EXPECT_EQ(top_again->total(), top.total());
  EXPECT_EQ(*QuantileSketch::from_bytes(QuantileSketch().to_bytes()), QuantileSketch());
  EXPECT_EQ(*DistinctSketch::from_bytes(DistinctSketch().to_bytes()), DistinctSketch());
}

TEST(SketchBytesTest, OthersAreRefused) {
  QuantileSketch quantiles;
  for (const double value : random_values(3, 50)) quantiles.add(value);
  TopSketch top(4);
  top.add("somebody", 9);
  for (const std::string& good : {quantiles.to_bytes(), top.to_bytes()}) {
    for (std::size_t length = 0; length < good.size(); ++length) {
      EXPECT_FALSE(QuantileSketch::from_bytes(good.substr(0, length)));
      EXPECT_FALSE(TopSketch::from_bytes(good.substr(0, length)));
    }
    std::mt19937_64 random(9);
    for (int round = 0; round < 20000; ++round) {  // must neither crash nor hang
      std::string bad = good;
      for (int flips = 0; flips < 3; ++flips) bad[2 + random() % (bad.size() - 2)] = static_cast<char>(random());
      (void)QuantileSketch::from_bytes(bad);
      (void)TopSketch::from_bytes(bad);
      bad[0] = 'D';
      (void)DistinctSketch::from_bytes(bad);
    }
  }
  EXPECT_FALSE(DistinctSketch::from_bytes(std::string("D\x01\x05\x03", 4)));
  EXPECT_FALSE(DistinctSketch::from_bytes("Q"));
}

}  // namespace
}  // namespace weir::model
