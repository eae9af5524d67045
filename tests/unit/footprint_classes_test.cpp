// Classes of scripted workloads: right within a minute, and stable from then on.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/footprint_builder.h"
#include "unit/footprint_traffic.h"

namespace weir::model {
namespace {

using testing::ScriptedWorkload;
using testing::TrafficGenerator;

constexpr int kLearnSeconds = 60;
constexpr int kStableSeconds = 120;

struct Outcome {
  FootprintVerdict verdict;  ///< after a minute
  int changes = 0;           ///< since
};

Outcome run(const ScriptedWorkload& workload, std::uint64_t seed) {
  TrafficGenerator generator(workload, seed);
  FootprintBuilder builder;
  const FootprintKey key{
      .kind = "container", .name = {}, .id = workload.name, .image = {}, .direction = FlowDirection::tx};
  Outcome outcome;
  FootprintClass last{};
  for (int second = 1; second <= kLearnSeconds + kStableSeconds; ++second) {
    builder.feed(generator.next());
    if (second < kLearnSeconds) continue;
    const FootprintVerdict* held = builder.verdict(key);
    const FootprintVerdict verdict = held == nullptr ? FootprintVerdict{} : *held;
    if (second == kLearnSeconds) outcome.verdict = verdict;
    if (second > kLearnSeconds && verdict.footprint_class != last) ++outcome.changes;
    last = verdict.footprint_class;
  }
  return outcome;
}

using Confusion = std::array<std::array<int, kFootprintClasses>, kFootprintClasses>;

std::string confusion_text(const Confusion& confusion) {
  std::string text = fmt::format("{:>18}", "is \\ taken for");
  for (std::size_t i = 0; i < kFootprintClasses; ++i) {
    text += fmt::format("{:>18}", to_string(static_cast<FootprintClass>(i)));
  }
  for (std::size_t is = 0; is < kFootprintClasses; ++is) {
    text += fmt::format("\n{:>18}", to_string(static_cast<FootprintClass>(is)));
    for (const int count : confusion[is]) text += fmt::format("{:>18}", count);
  }
  return text + '\n';
}

TEST(FootprintClassesTest, ScriptedWorkloadsAreTakenForWhatTheyAre) {
  const auto workloads = testing::scripted_workloads();
  ASSERT_GE(workloads.size(), 30U);
  Confusion confusion{};
  int right = 0;
  int total = 0;
  int unstable = 0;
  std::string wrong;
  for (const ScriptedWorkload& workload : workloads) {
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      const Outcome outcome = run(workload, seed);
      const FootprintClass taken = outcome.verdict.footprint_class;
      ++confusion[static_cast<std::size_t>(workload.expected)][static_cast<std::size_t>(taken)];
      ++total;
      right += taken == workload.expected ? 1 : 0;
      unstable += outcome.changes != 0 ? 1 : 0;
      if (taken == workload.expected && outcome.changes == 0) continue;
      wrong += fmt::format("{} (seed {}): {}, {:.2f}, {}; {} changes\n", workload.name, seed, to_string(taken),
                           outcome.verdict.confidence, outcome.verdict.reason, outcome.changes);
    }
  }
  RecordProperty("workloads", static_cast<int>(workloads.size()));
  RecordProperty("right", right);
  RecordProperty("of", total);
  EXPECT_GE(right, total * 95 / 100) << confusion_text(confusion) << wrong;
  EXPECT_LE(unstable, total * 5 / 100) << confusion_text(confusion) << wrong;
}

FootprintFeatures bulk_features() {
  return {.windows = 60,
          .packets_per_s = 8000,
          .rate_bps = 100e6,
          .burstiness = 0.1,
          .heavy_byte_share = 1,
          .light_packet_share = 0,
          .mean_packet_bytes = 1500,
          .opposite_ratio = 0.02};
}

TEST(FootprintClassesTest, AreSureAndSayWhy) {
  const FootprintVerdict verdict = classify(bulk_features());
  EXPECT_EQ(verdict.footprint_class, FootprintClass::bulk);
  EXPECT_DOUBLE_EQ(verdict.confidence, 1);
  EXPECT_EQ(verdict.reason, "100 % of the bytes in heavy flows, variation 0.10");
}

TEST(FootprintClassesTest, AreLessSureOfFewSamplesAndOfWhatLiesBetween) {
  FootprintFeatures few = bulk_features();
  few.windows = 5;
  EXPECT_DOUBLE_EQ(classify(few).confidence, 0.5);
  FootprintFeatures between = bulk_features();
  between.light_packet_share = 0.2;
  EXPECT_LT(classify(between).confidence, 0.5);
}

TEST(FootprintClassesTest, AcknowledgementsHaveTheClassOfWhatTheyAcknowledge) {
  const FootprintVerdict bulk = classify(bulk_features());
  FootprintFeatures acks = bulk_features();
  acks.heavy_byte_share = 0;
  acks.light_packet_share = 1;
  acks.mean_packet_bytes = 66;
  acks.opposite_ratio = 40;
  EXPECT_EQ(classify(acks).footprint_class, FootprintClass::latency_sensitive);
  EXPECT_EQ(classify(acks, &bulk).footprint_class, FootprintClass::bulk);
}

TEST(FootprintClassesTest, LargeAnswersToSmallRequestsAreADialogue) {
  FootprintFeatures requests = bulk_features();
  requests.heavy_byte_share = 0;
  requests.light_packet_share = 1;
  requests.mean_packet_bytes = 170;
  const FootprintVerdict asked = classify(requests);
  EXPECT_EQ(asked.footprint_class, FootprintClass::latency_sensitive);
  FootprintFeatures responses = bulk_features();
  responses.mean_packet_bytes = 1250;
  responses.opposite_packets_ratio = 1;
  responses.opposite_ratio = 170.0 / 1250;
  EXPECT_EQ(classify(responses).footprint_class, FootprintClass::bulk);
  EXPECT_EQ(classify(responses, &asked).footprint_class, FootprintClass::latency_sensitive);
  // A download: as many packets come back, but they only acknowledge.
  FootprintFeatures download = bulk_features();
  download.opposite_packets_ratio = 0.5;
  download.opposite_ratio = 0.5 * 66 / 1500;
  EXPECT_EQ(classify(download, &asked).footprint_class, FootprintClass::bulk);
}

TEST(FootprintClassesTest, ASinglePauseMakesNoBurst) {
  const ScriptedWorkload workload{"restarted", FootprintClass::bulk, {{.rate_bps = 100e6}}, 30, 20};
  EXPECT_EQ(run(workload, 1).verdict.footprint_class, FootprintClass::bulk);
}

TEST(SteadyVerdictTest, HoldsOnUntilAnotherHasFittedForLong) {
  using std::chrono::seconds;
  SteadyVerdict steady;
  const FootprintVerdict bulk{FootprintClass::bulk, 1, "a"};
  const FootprintVerdict mixed{FootprintClass::mixed, 1, "b"};
  steady.feed(bulk, seconds(1));
  EXPECT_EQ(steady.held().footprint_class, FootprintClass::bulk);
  for (int now = 2; now <= 40; ++now) {
    steady.feed(now % 4 == 0 ? bulk : mixed, seconds(now));
    EXPECT_EQ(steady.held().footprint_class, FootprintClass::bulk) << now;
  }
  for (int now = 41; now <= 45; ++now) steady.feed(mixed, seconds(now));
  EXPECT_EQ(steady.held().footprint_class, FootprintClass::bulk);
  steady.feed(mixed, seconds(46));
  EXPECT_EQ(steady.held().footprint_class, FootprintClass::mixed);
}

}  // namespace
}  // namespace weir::model
