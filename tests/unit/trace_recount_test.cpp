// Records become the counts that the kernel would have made of the same packets; over a gap nothing is counted.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "observe/trace/paths.h"
#include "observe/trace/recount.h"

namespace weir {
namespace {

using observe::RawJourney;
using observe::Recount;

constexpr std::uint32_t kQueue = 1U << WEIR_WATCH_QUEUE_MAPPING;
constexpr std::uint32_t kAll = (1U << WEIR_WATCH_FIELDS) - 1;

/// One packet's records, a microsecond apart.
class Way {
 public:
  explicit Way(std::uint64_t id) { journey_.id = id; }

  Way& at(std::uint16_t hook, std::uint32_t ifindex, std::uint8_t flags = 0, std::uint16_t queue = 0) {
    weir_trace_event event{};
    event.hook = hook;
    event.ifindex = ifindex;
    event.flags = flags;
    event.queue_mapping = queue;
    return add(event);
  }
  /// Times and numbers are filled in.
  Way& add(weir_trace_event event) {
    event.time_ns = 1'000'000 + 1000 * ++events_;
    event.journey = journey_.id;
    event.netns = 1;
    event.sequence = sequence_[event.branch]++;
    const auto* bytes = reinterpret_cast<const std::byte*>(&event);
    journey_.bytes.insert(journey_.bytes.end(), bytes, bytes + sizeof event);
    journey_.ends.push_back(static_cast<std::uint32_t>(journey_.bytes.size()));
    return *this;
  }
  Way& lose() {
    ++sequence_[0];
    return *this;
  }
  [[nodiscard]] const RawJourney& journey() const { return journey_; }
  [[nodiscard]] Way rest() const {
    Way rest = *this;
    rest.journey_.bytes.clear();
    rest.journey_.ends.clear();
    return rest;
  }

 private:
  RawJourney journey_;
  std::uint64_t events_ = 0;
  std::map<std::uint16_t, std::uint32_t> sequence_;
};

observe::TraceNames names() {
  return {.hooks = {{WEIR_HOOK_net_dev_queue, "queue"}, {WEIR_HOOK_netif_rx, "rx"}, {WEIR_HOOK_consume_skb, "consume"}},
          .device = {},
          .drop_reason = {},
          .symbol = {},
          .workload = {}};
}

model::PathTree tree_of(const Recount& recount) {
  return observe::build_paths(recount.paths(), recount.lost_steps(), names());
}

void take(Recount& recount, const Way& way) {
  const auto taken = recount.add(way.journey());
  ASSERT_TRUE(taken) << taken.error().message;
}

Way whole(std::uint64_t id) {
  return Way(id)
      .at(WEIR_HOOK_net_dev_queue, 2, WEIR_FLAG_FIRST)
      .at(WEIR_HOOK_netif_rx, 3)
      .at(WEIR_HOOK_consume_skb, 3, WEIR_FLAG_LAST);
}

TEST(Recount, PacketsOfOneWayAreOnePath) {
  Recount recount(0);
  for (std::uint64_t id = 1; id <= 5; ++id) take(recount, whole(id));
  take(recount, Way(6).at(WEIR_HOOK_net_dev_queue, 2, WEIR_FLAG_FIRST).at(WEIR_HOOK_netif_rx, 4));
  const auto tree = tree_of(recount);
  ASSERT_EQ(tree.paths.size(), 2U);
  EXPECT_EQ(tree.paths[0].packets, 5U);
  EXPECT_EQ(tree.paths[0].end, model::JourneyEnd::consumed);
  EXPECT_EQ(tree.mean_ns(tree.paths[0]), 2000U);
  EXPECT_EQ(tree.paths[1].packets, 1U);
  EXPECT_EQ(tree.cut_stops, 0U);
  EXPECT_TRUE(recount.changes().empty());
}

TEST(Recount, WhatFollowsAGapHangsOnNothing) {
  Recount recount(kQueue);
  take(recount, whole(1));
  take(recount, Way(2)
                    .at(WEIR_HOOK_net_dev_queue, 2, WEIR_FLAG_FIRST)
                    .lose()
                    .at(WEIR_HOOK_netif_rx, 3, 0, 1)
                    .at(WEIR_HOOK_consume_skb, 3, WEIR_FLAG_LAST, 2));
  const auto tree = tree_of(recount);
  EXPECT_EQ(tree.lost_steps, 1U);
  EXPECT_EQ(tree.cut_stops, 2U);
  EXPECT_EQ(tree.cut_packets, 1U);
  ASSERT_EQ(tree.paths.size(), 2U);
  EXPECT_EQ(tree.paths[0].packets + tree.paths[1].packets, 2U);
  ASSERT_EQ(recount.changes().size(), 1U) << "0 -> 1 was somewhere in the gap";
  EXPECT_EQ(recount.changes()[0].key.before, 1U);
}

TEST(Recount, WhatLacksItsBeginningBeginsNowhere) {
  Recount recount(kAll);
  take(recount, Way(1).lose().at(WEIR_HOOK_netif_rx, 3, 0, 7));
  EXPECT_TRUE(tree_of(recount).paths.empty());
  EXPECT_EQ(tree_of(recount).cut_packets, 1U);
  EXPECT_TRUE(recount.changes().empty());
}

TEST(Recount, AQueueThatIsThereFromTheBeginningWasSetBefore) {
  Recount recount(kAll);
  take(recount, Way(1).at(WEIR_HOOK_net_dev_queue, 2, WEIR_FLAG_FIRST, 3).at(WEIR_HOOK_netif_rx, 2, 0, 1));
  const auto changes = recount.changes();
  ASSERT_EQ(changes.size(), 2U);
  const auto first = std::ranges::find(changes, 3U, [](const auto& change) { return change.key.after; });
  ASSERT_NE(first, changes.end());
  EXPECT_EQ(first->key.from_hook, 0U);
  EXPECT_EQ(first->key.from_ifindex, 2U);
  EXPECT_EQ(first->key.before, 0U);
}

TEST(Recount, EventsBesideThePacketAreNoSteps) {
  Recount recount(kQueue);
  take(recount, Way(1)
                    .at(WEIR_HOOK_net_dev_queue, 2, WEIR_FLAG_FIRST, 1)
                    .at(WEIR_HOOK_fib_table_lookup, 2, WEIR_FLAG_BESIDE)
                    .at(WEIR_HOOK_netif_rx, 3, 0, 1));
  take(recount, Way(0).at(WEIR_HOOK_xdp_exception, 2, WEIR_FLAG_BESIDE));
  EXPECT_EQ(recount.lost_steps(), 0U);
  EXPECT_EQ(recount.changes().size(), 1U);
  ASSERT_EQ(tree_of(recount).paths.size(), 1U);
  EXPECT_EQ(tree_of(recount).paths[0].stops.size(), 2U);
  EXPECT_EQ(recount.beside().at(WEIR_HOOK_fib_table_lookup), 1U);
  EXPECT_EQ(recount.beside().at(WEIR_HOOK_xdp_exception), 1U);
}

TEST(Recount, ClonesLeadNowhereButAreWhereThePacketIsSeen) {
  Recount recount(kQueue);
  take(recount, Way(1)
                    .at(WEIR_HOOK_net_dev_queue, 2, WEIR_FLAG_FIRST)
                    .at(WEIR_HOOK_consume_skb, 2, WEIR_FLAG_CLONE, 5)
                    .at(WEIR_HOOK_netif_rx, 3));
  const auto tree = tree_of(recount);
  ASSERT_EQ(tree.copies.size(), 1U);
  ASSERT_EQ(tree.paths.size(), 1U);
  EXPECT_EQ(tree.mean_ns(tree.paths[0]), 2000U) << "since the packet's own hook before";
  EXPECT_EQ(recount.changes().size(), 2U) << "0 -> 5 on the clone, and back";
}

TEST(Recount, SegmentsArePartsOfWhatWasCut) {
  Recount recount(0);
  weir_trace_event big{};
  big.hook = WEIR_HOOK_net_dev_queue;
  big.ifindex = 2;
  big.hash = 77;
  big.gso_size = 1448;
  big.flags = WEIR_FLAG_FIRST;
  Way way(1);
  way.add(big);
  weir_trace_event segment = big;
  segment.hook = WEIR_HOOK_net_dev_start_xmit;
  segment.gso_size = 0;
  for (segment.branch = 1; segment.branch <= 3; ++segment.branch) way.add(segment);
  // Fragments have no packet before them that they were seen as.
  weir_trace_event fragment{};
  fragment.hook = WEIR_HOOK_net_dev_queue;
  fragment.ifindex = 2;
  fragment.branch = 4;
  fragment.flags = WEIR_FLAG_FIRST;
  way.add(fragment);
  take(recount, way);
  const auto tree = tree_of(recount);
  const auto parts = std::ranges::find(tree.stops, true, &model::PathStop::part);
  ASSERT_NE(parts, tree.stops.end());
  EXPECT_EQ(parts->packets, 3U);
  EXPECT_EQ(tree.roots.size(), 1U) << "the packet and its fragment begin at the same place";
  EXPECT_EQ(tree.stops[tree.roots[0]].packets, 2U);
}

TEST(Recount, TakesWhatComesLaterOfAJourney) {
  Recount recount(0);
  Way way(1);
  way.at(WEIR_HOOK_net_dev_queue, 2, WEIR_FLAG_FIRST);
  take(recount, way);
  EXPECT_TRUE(recount.knows(1));
  EXPECT_FALSE(recount.knows(2));
  take(recount, way.rest().at(WEIR_HOOK_netif_rx, 3));
  ASSERT_EQ(tree_of(recount).paths.size(), 1U);
  EXPECT_EQ(tree_of(recount).paths[0].stops.size(), 2U);
  EXPECT_EQ(recount.lost_steps(), 0U);
}

TEST(Recount, RefusesATornRecord) {
  Recount recount(0);
  RawJourney torn = whole(1).journey();
  torn.ends = {10};
  EXPECT_FALSE(recount.add(torn));
}

}  // namespace
}  // namespace weir
