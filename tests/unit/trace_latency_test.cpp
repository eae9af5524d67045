// Journeys taken apart into stretches.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "cli/render_latency.h"
#include "observe/trace/bpf/trace_hooks.h"
#include "observe/trace/latency.h"

namespace weir {
namespace {

/// Events that follow each other at given times.
class JourneyDraft {
 public:
  JourneyDraft& at(std::uint64_t time_ns, std::uint16_t hook, std::uint32_t ifindex, std::uint64_t netns = 1,
                   const std::string& name = {}) {
    model::TraceEvent event;
    event.time_ns = time_ns;
    event.hook = {hook, name};
    event.device = {.netns = {netns, "ns" + std::to_string(netns)},
                    .ifindex = IfIndex{ifindex},
                    .name = "if" + std::to_string(ifindex)};
    event.sequence = static_cast<std::uint32_t>(journey_.events.size());
    journey_.events.push_back(std::move(event));
    return *this;
  }
  JourneyDraft& bracket(std::uint64_t time_ns, const std::string& name, std::uint32_t ifindex) {
    return at(time_ns, WEIR_HOOK_NF, ifindex, 1, "nf:" + name);
  }
  JourneyDraft& of_clone() {
    journey_.events.back().clone = true;
    return *this;
  }
  JourneyDraft& of_branch(std::uint16_t branch) {
    journey_.events.back().branch = branch;
    return *this;
  }
  JourneyDraft& carrying(model::PacketBytes bytes) {
    journey_.events.back().packet = std::move(bytes);
    return *this;
  }
  [[nodiscard]] std::vector<model::StretchTimes> times() const {
    observe::StretchLatency latency;
    latency.add(journey_);
    return latency.times();
  }
  [[nodiscard]] const model::Journey& journey() const { return journey_; }

 private:
  model::Journey journey_{.id = 1, .events = {}};
};

std::optional<model::StretchTimes> find(const std::vector<model::StretchTimes>& times, model::Stretch stretch,
                                        const std::string& hook = {}) {
  for (const model::StretchTimes& one : times) {
    if (one.stretch == stretch && one.hook == hook) return one;
  }
  return std::nullopt;
}

std::uint64_t only_ns(const std::vector<model::StretchTimes>& times, model::Stretch stretch,
                      const std::string& hook = {}) {
  const auto found = find(times, stretch, hook);
  return found && found->time.count() == 1 ? found->time.sum_ns() : 0;
}

model::PacketBytes udp_packet() {
  model::PacketBytes packet{.start = model::PacketStart::network, .length = 28, .bytes = {}};
  for (const int byte : {0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 3, 4, 0, 8, 0, 0}) {
    packet.bytes.push_back(static_cast<std::byte>(byte));
  }
  return packet;
}

TEST(StretchLatency, AForwardedPacketHasAllItsStretches) {
  const auto times = JourneyDraft()
                         .at(1000, WEIR_HOOK_net_dev_queue, 2)
                         .at(1100, WEIR_HOOK_qdisc_enqueue, 2)
                         .at(2900, WEIR_HOOK_qdisc_dequeue, 2)
                         .at(3000, WEIR_HOOK_net_dev_start_xmit, 2)
                         .at(3200, WEIR_HOOK_netif_rx, 3, 7)
                         .at(4200, WEIR_HOOK_netif_receive_skb, 3, 7)
                         .at(4500, WEIR_HOOK_fib_table_lookup, 3, 7)
                         .at(4700, WEIR_HOOK_fib_table_lookup, 3, 7)
                         .at(6200, WEIR_HOOK_net_dev_queue, 4, 7)
                         .at(6300, WEIR_HOOK_net_dev_start_xmit, 4, 7)
                         .at(6350, WEIR_HOOK_consume_skb, 4, 7)
                         .times();
  ASSERT_EQ(times.front().stretch, model::Stretch::qdisc);
  EXPECT_EQ(times.front().time.sum_ns(), 2000U) << "of all that waited, the longest stands first";
  EXPECT_EQ(only_ns(times, model::Stretch::softirq), 1000U);
  EXPECT_EQ(only_ns(times, model::Stretch::routing), 500U);
  EXPECT_EQ(only_ns(times, model::Stretch::forwarding), 2000U);
  EXPECT_EQ(only_ns(times, model::Stretch::total), 5350U);
  EXPECT_EQ(find(times, model::Stretch::driver)->time.sum_ns(), 200U);
  EXPECT_FALSE(find(times, model::Stretch::socket)) << "freed by a driver, read by nobody";
}

TEST(StretchLatency, BracketsOfNetfilterMeasureEachHook) {
  const auto times = JourneyDraft()
                         .at(1000, WEIR_HOOK_netif_receive_skb, 2)
                         .bracket(1100, "PRE_ROUTING:first", 2)
                         .bracket(1400, "PRE_ROUTING:dnat", 2)
                         .bracket(1900, "PRE_ROUTING:last", 2)
                         .bracket(2500, "FORWARD:first", 2)
                         .bracket(2600, "FORWARD:last", 2)
                         .times();
  EXPECT_EQ(only_ns(times, model::Stretch::netfilter, "PRE_ROUTING"), 800U);
  EXPECT_EQ(only_ns(times, model::Stretch::netfilter, "FORWARD"), 100U);
  EXPECT_EQ(only_ns(times, model::Stretch::routing), 600U);
}

TEST(StretchLatency, AHookLeftBeforeItsEndIsNotMeasured) {
  const auto times = JourneyDraft()
                         .bracket(1000, "PRE_ROUTING:first", 2)
                         .bracket(1100, "FORWARD:first", 2)
                         .bracket(1200, "POST_ROUTING:last", 2)
                         .times();
  EXPECT_FALSE(find(times, model::Stretch::netfilter, "PRE_ROUTING"));
  EXPECT_FALSE(find(times, model::Stretch::netfilter, "POST_ROUTING"));
}

TEST(StretchLatency, ReadingEndsTheWaitAtASocketOnce) {
  const auto times = JourneyDraft()
                         .at(1000, WEIR_HOOK_netif_receive_skb, 2)
                         .at(9000, WEIR_HOOK_skb_copy_datagram_iovec, 2)
                         .at(99000, WEIR_HOOK_skb_copy_datagram_iovec, 2)
                         .at(99100, WEIR_HOOK_consume_skb, 2)
                         .times();
  EXPECT_EQ(only_ns(times, model::Stretch::socket), 8000U);
}

TEST(StretchLatency, ARawSocketReadsAClone) {
  const auto times = JourneyDraft()
                         .at(1000, WEIR_HOOK_netif_receive_skb, 2)
                         .at(5000, WEIR_HOOK_skb_copy_datagram_iovec, 2)
                         .of_clone()
                         .times();
  EXPECT_EQ(only_ns(times, model::Stretch::socket), 4000U);
  EXPECT_FALSE(find(times, model::Stretch::total)) << "the packet itself was at one hook";
}

TEST(StretchLatency, AShortUdpMessageIsReadWhenItIsFreed) {
  JourneyDraft draft;
  draft.at(1000, WEIR_HOOK_netif_receive_skb, 2);
  draft.carrying(udp_packet()).at(4000, WEIR_HOOK_consume_skb, 0);
  EXPECT_EQ(only_ns(draft.times(), model::Stretch::socket), 3000U);
  const auto others =
      JourneyDraft().at(1000, WEIR_HOOK_netif_receive_skb, 2).at(4000, WEIR_HOOK_consume_skb, 0).times();
  EXPECT_FALSE(find(others, model::Stretch::socket));
}

TEST(StretchLatency, PartsAreWalkedEachOnItsOwn) {
  const auto times = JourneyDraft()
                         .at(1000, WEIR_HOOK_net_dev_queue, 2)
                         .at(2000, WEIR_HOOK_net_dev_start_xmit, 2)
                         .of_branch(1)
                         .at(2100, WEIR_HOOK_net_dev_start_xmit, 2)
                         .of_branch(2)
                         .at(2300, WEIR_HOOK_netif_rx, 3)
                         .of_branch(1)
                         .times();
  EXPECT_EQ(only_ns(times, model::Stretch::driver), 300U);
  EXPECT_FALSE(find(times, model::Stretch::qdisc));
}

TEST(StretchLatency, TextAndJsonHaveARowEach) {
  observe::StretchLatency latency;
  for (std::uint64_t took = 1000; took < 2000; took += 10) {
    latency.add(JourneyDraft().at(0, WEIR_HOOK_netif_rx, 2).at(took, WEIR_HOOK_netif_receive_skb, 2).journey());
  }
  const auto document = model::latency_json(latency.times(), {});
  EXPECT_EQ(document["schema"], "weir.trace_latency/1");
  ASSERT_EQ(document["stretches"].size(), 2U);
  EXPECT_EQ(document["stretches"][0]["stretch"], "softirq");
  EXPECT_EQ(document["stretches"][0]["count"], 100);
  EXPECT_NEAR(document["stretches"][0]["p50_ns"].get<double>(), 1500, 1500 * 0.25);
  EXPECT_EQ(document["stretches"][0]["buckets"][0]["from_ns"], 896);
  const auto text = cli::render_latency(latency.times(), false);
  EXPECT_NE(text.find("softirq                ns1/if2"), std::string::npos) << text;
  EXPECT_NE(text.find("|.@|"), std::string::npos) << text;
}

TEST(StretchLatency, NothingIsSaidOfNothing) {
  EXPECT_TRUE(observe::StretchLatency{}.times().empty());
  EXPECT_EQ(cli::render_latency({}, false).find("no journey"), 0U);
}

}  // namespace
}  // namespace weir
