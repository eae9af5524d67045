#include "observe/queues/queue_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::observe {
namespace {

using model::QueueCount;
using model::QueueRule;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const DeviceKey kNic{.netns = 7, .ifindex = 3};

model::HostConfig host() {
  model::HostConfig config;
  model::DeviceConfig nic;
  nic.ref = {{7, "weir-host"}, IfIndex{3}, "nic0"};
  nic.real_tx_queues = 4;
  nic.real_rx_queues = 1;
  config.devices.push_back(nic);
  return config;
}

QueueTotals totals(std::uint64_t queue0, std::uint64_t sampled) {
  QueueTotals sums;
  DeviceTotals& nic = sums.devices[kNic];
  nic.tx[0] = {.queue = 0, .packets = queue0, .bytes = queue0 * 100, .wire_packets = queue0 * 2};
  nic.choices[{9, 0, WEIR_RULE_RECORDED}] = sampled;
  nic.flows = {{0xABC, sampled / 2}, {0xDEF, sampled}};
  nic.cpus = {{1, sampled}};
  return sums;
}

TEST(QueueWindow, IsTheDifferenceOfTwoReads) {
  const auto window = queue_window(kNic, totals(1000, 10), totals(1500, 30), std::chrono::seconds(1), 16, host());
  ASSERT_EQ(window.tx.size(), 4U);
  EXPECT_EQ(window.tx[0], (QueueCount{.queue = 0, .packets = 500, .bytes = 50000, .wire_packets = 1000}));
  EXPECT_EQ(window.tx[3], QueueCount{.queue = 3}) << "queues in use without packets have zero rows";
  EXPECT_EQ(window.sample.sampled, 20U);
  EXPECT_EQ(window.sample.chosen_by[static_cast<std::size_t>(QueueRule::recorded)], 20U);
  EXPECT_THAT(window.sample.flows, ElementsAre(20, 10));
  EXPECT_THAT(window.sample.cpus, ElementsAre(0, 20));
}

TEST(QueueWindow, NamesAnOriginThatIsNotKnown) {
  const auto window = queue_window(kNic, {}, totals(1500, 30), std::chrono::seconds(1), 16, host());
  ASSERT_EQ(window.sample.origins.size(), 1U);
  EXPECT_EQ(to_string(window.sample.origins[0].origin), "weir-host/if9");
  EXPECT_THAT(window.sample.origins[0].per_queue, ElementsAre(30));
}

TEST(QueueWindow, IsEmptyForADeviceThatIsGone) {
  const auto window = queue_window(kNic, totals(1000, 10), {}, std::chrono::seconds(1), 16, model::HostConfig{});
  EXPECT_THAT(window.tx, IsEmpty());
  EXPECT_EQ(window.sample.sampled, 0U);
}

TEST(QueueWindow, ShowsAQueueBeyondThoseInUse) {
  QueueTotals after;
  after.devices[kNic].tx[9] = {.queue = 9, .packets = 5, .bytes = 500, .wire_packets = 5};
  const auto window = queue_window(kNic, {}, after, std::chrono::seconds(1), 16, host());
  ASSERT_EQ(window.tx.size(), 5U) << "the number of queues was reduced while it was watched";
  EXPECT_EQ(window.tx.back().queue, 9U);
}

std::array<std::uint64_t, model::kQueueRuleCount> rules_of(
    const std::map<DeviceTotals::Choice, std::uint64_t>& choices) {
  QueueTotals after;
  after.devices[kNic].choices = choices;
  return queue_window(kNic, {}, after, std::chrono::seconds(1), 16, host()).sample.chosen_by;
}

TEST(QueueWindow, TellsAClearedMappingFromOneThatAgreesWithTheHash) {
  constexpr auto kHash = static_cast<std::size_t>(QueueRule::hash);
  constexpr auto kRecorded = static_cast<std::size_t>(QueueRule::recorded);
  // In force: three quarters are recorded only, the rest agrees with the hash by chance.
  EXPECT_EQ(rules_of({{{9, 0, WEIR_RULE_RECORDED}, 75}, {{9, 0, WEIR_RULE_RECORDED_OR_CLEARED}, 25}})[kRecorded], 100U);
  // Cleared at egress: three quarters went where only the hash sends them.
  EXPECT_EQ(rules_of({{{9, 1, WEIR_RULE_CLEARED}, 75}, {{9, 0, WEIR_RULE_RECORDED_OR_CLEARED}, 25}})[kHash], 100U);
  // One origin cleared, another not: each is judged by its own packets.
  const auto mixed = rules_of({{{8, 1, WEIR_RULE_CLEARED}, 75},
                               {{8, 0, WEIR_RULE_RECORDED_OR_CLEARED}, 25},
                               {{9, 0, WEIR_RULE_RECORDED}, 30},
                               {{9, 0, WEIR_RULE_RECORDED_OR_CLEARED}, 10}});
  EXPECT_EQ(mixed[kHash], 100U);
  EXPECT_EQ(mixed[kRecorded], 40U);
}

TEST(NameDevice, KeepsNamespacesApart) {
  EXPECT_EQ(to_string(name_device({7, 3}, host())), "weir-host/nic0");
  EXPECT_EQ(to_string(name_device({8, 3}, host())), "id:8/if3");
  EXPECT_EQ(name_device({7, 0}, host()).name, "(local sockets)");
}

}  // namespace
}  // namespace weir::observe
