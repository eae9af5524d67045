// Places counted by the kernel become a tree and distinct paths, and these a text and a page.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "cli/render_paths.h"
#include "model/paths_json.h"
#include "observe/trace/paths.h"

namespace weir {
namespace {

observe::TraceNames names() {
  return {.hooks = {{WEIR_HOOK_net_dev_queue, "net:net_dev_queue"},
                    {WEIR_HOOK_net_dev_start_xmit, "net:net_dev_start_xmit"},
                    {WEIR_HOOK_netif_rx, "net:netif_rx"},
                    {WEIR_HOOK_netif_receive_skb, "net:netif_receive_skb"},
                    {WEIR_HOOK_skb_copy_datagram_iovec, "skb:skb_copy_datagram_iovec"},
                    {WEIR_HOOK_tcp_probe, "tcp:tcp_probe"},
                    {WEIR_HOOK_kfree_skb, "skb:kfree_skb"},
                    {WEIR_HOOK_consume_skb, "skb:consume_skb"}},
          .device =
              [](std::uint64_t netns, std::uint32_t ifindex) {
                return model::DeviceRef{.netns = {netns, "ns" + std::to_string(netns)},
                                        .ifindex = IfIndex{ifindex},
                                        .name = "<eth" + std::to_string(ifindex) + ">"};
              },
          .drop_reason = [](std::uint32_t number) { return "REASON_" + std::to_string(number); },
          .symbol = {},
          .workload = {}};
}

observe::PathPlace place(std::uint64_t key, std::uint64_t parent, std::uint16_t hook, std::uint64_t packets,
                         std::uint64_t ends = 0, std::uint64_t took_ns = 1000) {
  observe::PathPlace made;
  made.key = key;
  made.node.parent = parent;
  made.node.netns = 1;
  made.node.ifindex = 2;
  made.node.hook = hook;
  made.node.packets = packets;
  made.node.ends = ends;
  made.node.sum_ns = packets * took_ns;
  made.node.max_ns = took_ns;
  made.node.buckets[DurationHistogram::bucket_of(took_ns)] = static_cast<std::uint32_t>(packets);
  return made;
}

/// 100 packets are received: 60 read, 30 dropped for reason 7, 6 go nowhere else, 4 end at a TCP socket.
std::vector<observe::PathPlace> received() {
  std::vector<observe::PathPlace> places{
      place(10, 0, WEIR_HOOK_netif_receive_skb, 100), place(20, 10, WEIR_HOOK_skb_copy_datagram_iovec, 60),
      place(21, 20, WEIR_HOOK_consume_skb, 60, 60), place(30, 10, WEIR_HOOK_kfree_skb, 30, 30),
      place(40, 10, WEIR_HOOK_tcp_probe, 4)};
  places[3].node.detail = 7;
  return places;
}

TEST(Histogram, BucketsAreAsTheProgramsCountThem) {
  EXPECT_EQ(DurationHistogram::bucket_of(0), 0U);
  EXPECT_EQ(DurationHistogram::bucket_of(63), 0U);
  EXPECT_EQ(DurationHistogram::bucket_of(64), 1U);
  EXPECT_EQ(DurationHistogram::bucket_of(79), 1U);
  EXPECT_EQ(DurationHistogram::bucket_of(80), 2U);
  EXPECT_EQ(DurationHistogram::bucket_of(127), 4U);
  EXPECT_EQ(DurationHistogram::bucket_of(128), 5U);
  EXPECT_EQ(DurationHistogram::bucket_of(~0ULL), DurationHistogram::kBuckets - 1);
  for (std::size_t bucket = 0; bucket < DurationHistogram::kBuckets; ++bucket) {
    EXPECT_EQ(DurationHistogram::bucket_of(DurationHistogram::bucket_begin_ns(bucket)), bucket);
    if (bucket == 0) continue;
    EXPECT_EQ(DurationHistogram::bucket_of(DurationHistogram::bucket_begin_ns(bucket) - 1), bucket - 1);
  }
}

TEST(Histogram, QuantilesStayWithinTheirBound) {
  DurationHistogram histogram;
  for (std::uint64_t ns = 100; ns <= 100'000; ns += 100) histogram.add(ns);
  for (const double share : {0.1, 0.5, 0.9, 0.99, 1.0}) {
    const double expected = share * 100'000;
    EXPECT_NEAR(static_cast<double>(histogram.quantile_ns(share)), expected,
                expected * DurationHistogram::kErrorPct / 100);
  }
  EXPECT_EQ(histogram.max_ns(), 100'000U);
  EXPECT_LE(histogram.quantile_ns(1.0), histogram.max_ns());
  EXPECT_EQ(histogram.mean_ns(), 50'050U);
  EXPECT_EQ(DurationHistogram{}.quantile_ns(0.5), 0U);
}

TEST(Paths, EachEndOfAPathIsOne) {
  const auto tree = observe::build_paths(received(), 0, names());
  ASSERT_EQ(tree.paths.size(), 4U);
  EXPECT_EQ(tree.packets(), 100U);
  EXPECT_EQ(tree.paths[0].packets, 60U);
  EXPECT_EQ(tree.paths[0].end, model::JourneyEnd::delivered);
  EXPECT_EQ(tree.paths[0].stops.size(), 3U);
  EXPECT_EQ(tree.mean_ns(tree.paths[0]), 2000U) << "nothing is waited for where a way begins";
  EXPECT_EQ(tree.paths[1].packets, 30U);
  EXPECT_EQ(tree.paths[1].end, model::JourneyEnd::dropped);
  EXPECT_EQ(tree.stops[tree.paths[1].stops.back()].drop_reason, "REASON_7");
  EXPECT_EQ(tree.paths[2].packets, 6U);
  EXPECT_EQ(tree.paths[2].end, model::JourneyEnd::unknown);
  EXPECT_EQ(tree.paths[3].end, model::JourneyEnd::arrived);
}

TEST(Paths, WhatLostItsBeginningIsCutAndNotGlued) {
  auto places = received();
  places.push_back(place(50, 999, WEIR_HOOK_netif_rx, 11));
  places.push_back(place(51, 50, WEIR_HOOK_kfree_skb, 5, 5));
  const auto tree = observe::build_paths(places, 16, names());
  EXPECT_EQ(tree.packets(), 100U);
  EXPECT_EQ(tree.stops.size(), 5U);
  EXPECT_EQ(tree.cut_stops, 2U);
  EXPECT_EQ(tree.cut_packets, 11U);
  EXPECT_NE(cli::render_paths(tree, {}).find("16 steps found no room"), std::string::npos);
}

TEST(Paths, StopsThatPointAtEachOtherEndNothing) {
  const std::vector<observe::PathPlace> places{place(1, 2, WEIR_HOOK_netif_rx, 3), place(2, 1, WEIR_HOOK_netif_rx, 3)};
  const auto tree = observe::build_paths(places, 0, names());
  EXPECT_TRUE(tree.paths.empty());
  EXPECT_EQ(tree.cut_stops, 2U);
  EXPECT_EQ(cli::render_paths(tree, {}).find("no packet was seen"), 0U);
}

TEST(Paths, ClonesAreCountedApart) {
  auto places = received();
  for (const std::uint64_t parent : {10U, 20U}) {
    places.push_back(place(60 + parent, parent, WEIR_HOOK_consume_skb, 40));
    places.back().node.flags = WEIR_PATH_COPY;
  }
  const auto tree = observe::build_paths(places, 0, names());
  EXPECT_EQ(tree.paths.size(), 4U);
  ASSERT_EQ(tree.copies.size(), 1U);
  EXPECT_EQ(tree.copies[0].packets, 80U);
}

TEST(Paths, SegmentsDoNotCountAsTheirPacketGoingOn) {
  std::vector<observe::PathPlace> places{place(1, 0, WEIR_HOOK_net_dev_queue, 10),
                                         place(2, 1, WEIR_HOOK_consume_skb, 10, 10),
                                         place(3, 1, WEIR_HOOK_net_dev_start_xmit, 440)};
  places[2].node.flags = WEIR_PATH_PART;
  const auto tree = observe::build_paths(places, 0, names());
  ASSERT_EQ(tree.paths.size(), 2U);
  EXPECT_EQ(tree.paths[0].packets, 440U);
  EXPECT_EQ(tree.stops[tree.paths[0].stops.back()].time.count(), 0U);
  EXPECT_EQ(tree.paths[1].end, model::JourneyEnd::consumed);
}

TEST(Paths, TextFoldsHooksOfADeviceAndNamesTheDrop) {
  const auto text = cli::render_paths(observe::build_paths(received(), 0, names()), {});
  EXPECT_NE(text.find("30.0 %  30 packets, dropped: REASON_7, 1 us on average"), std::string::npos) << text;
  EXPECT_NE(text.find("netif_receive_skb - "), std::string::npos) << text;
  EXPECT_NE(text.find("-> skb_copy_datagram_iovec - "), std::string::npos) << text;
  const auto verbose = cli::render_paths(observe::build_paths(received(), 0, names()), {.verbose = true});
  EXPECT_NE(verbose.find("p90"), std::string::npos);
}

TEST(Paths, JsonSaysWhatTheTextSays) {
  model::TraceSummary summary;
  const auto document = model::to_json(observe::build_paths(received(), 3, names()), summary);
  EXPECT_EQ(document["schema"], "weir.trace_paths/1");
  EXPECT_EQ(document["packets"], 100);
  EXPECT_EQ(document["paths"][1]["end"], "dropped");
  EXPECT_EQ(document["paths"][1]["stops"][1]["drop_reason"], "REASON_7");
  EXPECT_EQ(document["paths"][1]["stops"][1]["max_ns"], 1000);
  EXPECT_FALSE(document["paths"][1]["stops"][0].contains("p50_ns"));
  EXPECT_EQ(document["lost"]["steps"], 3);
}

TEST(PathsPage, HoldsEveryBoxAndEscapesNames) {
  const auto page = cli::render_paths_page(observe::build_paths(received(), 0, names()), "a & b");
  EXPECT_NE(page.find("a &amp; b"), std::string::npos);
  EXPECT_EQ(page.find("<eth"), std::string::npos);
  EXPECT_NE(page.find("&lt;eth2&gt;"), std::string::npos);
  EXPECT_EQ(page.find("http:"), std::string::npos);
  EXPECT_EQ(page.find("https:"), std::string::npos);
  std::size_t boxes = 0;
  for (std::size_t at = page.find("<svg class="); at != std::string::npos; at = page.find("<svg class=", at + 1)) {
    ++boxes;
  }
  EXPECT_EQ(boxes, 5U);
}

TEST(PathsPage, WidthsAreSharesAndLabelsFit) {
  const auto page = cli::render_paths_page(observe::build_paths(received(), 0, names()), "x");
  EXPECT_NE(page.find(R"(data-p="0.00 1200.00")"), std::string::npos);
  EXPECT_NE(page.find(R"(data-p="0.00 720.00")"), std::string::npos);    // 60 % read
  EXPECT_NE(page.find(R"(data-p="720.00 360.00")"), std::string::npos);  // 30 % dropped
  EXPECT_NE(page.find(R"(width="48.00")"), std::string::npos);           // 4 %: too narrow for its label
  EXPECT_NE(page.find(R"(y="15">tcp..</text>)"), std::string::npos);
}

TEST(PathsPage, AnEmptyTreeIsAPageToo) {
  const auto page = cli::render_paths_page({}, "nothing");
  EXPECT_NE(page.find("0 packets on 0 paths"), std::string::npos);
}

}  // namespace
}  // namespace weir
