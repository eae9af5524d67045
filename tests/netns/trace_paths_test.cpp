// Paths that the kernel counts, against the books of the hooks and against what a lab is known to do.
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <optional>

#include "observe/trace/drop_reasons.h"
#include "observe/trace/paths.h"
#include "support/lab.h"
#include "support/process.h"

namespace weir {
namespace {

using lab::Family;
using test::eventually;
using test::TrafficLab;

class TracePaths : public testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    lab::Options options;
    options.family = GetParam();
    lab_.emplace("nft-drop", options);
    ASSERT_TRUE(lab_->ok()) << lab_->why();
    observe::TraceRequest request;
    request.filter = "udp";
    request.events = false;
    request.paths = true;
    const auto profile = observe::find_profile("default");
    ASSERT_TRUE(profile) << profile.error().message;
    request.hooks = profile->hooks;
    auto session = observe::TraceSession::start(request);
    ASSERT_TRUE(session) << session.error().message;
    session_.emplace(*std::move(session));
  }

  /// What the session has counted so far, as a tree.
  [[nodiscard]] model::PathTree tree() const {
    const auto places = session_->paths();
    EXPECT_TRUE(places) << places.error().message;
    const auto reasons = observe::DropReasons::load();
    return observe::build_paths(*places, session_->aggregates_lost().second,
                                {.hooks = session_->hooks(),
                                 .device = {},
                                 .drop_reason = [&](std::uint32_t number) { return reasons.name(number); },
                                 .symbol = {},
                                 .workload = {}});
  }

  std::optional<TrafficLab> lab_;
  std::optional<observe::TraceSession> session_;
};

INSTANTIATE_TEST_SUITE_P(Lab, TracePaths, testing::Values(Family::v4, Family::v6),
                         [](const auto& param) { return param.param == Family::v4 ? "v4" : "v6"; });

TEST_P(TracePaths, NamesTheWayThatEndsAtTheFirewall) {
  const auto dropped_by_firewall = [](const model::PathTree& tree) {
    for (const model::PacketPath& path : tree.paths) {
      const model::PathStop& last = tree.stops[path.stops.back()];
      if (path.end == model::JourneyEnd::dropped && last.drop_reason == "NETFILTER_DROP" && path.packets >= 20 &&
          path.stops.size() >= 4) {
        return true;
      }
    }
    return false;
  };
  EXPECT_TRUE(eventually([&] { return dropped_by_firewall(tree()); }));
}

TEST_P(TracePaths, EveryPacketAtAHookIsAtOneOfItsPlaces) {
  EXPECT_TRUE(eventually([&] { return tree().packets() >= 200; }));
  session_->stop();
  const auto places = session_->paths();
  ASSERT_TRUE(places) << places.error().message;
  std::map<std::uint16_t, std::uint64_t> at_places;
  for (const observe::PathPlace& place : *places) at_places[place.node.hook] += place.node.packets;
  const auto accounts = session_->accounts();
  ASSERT_TRUE(accounts) << accounts.error().message;
  for (const auto& [hook, account] : *accounts) {
    EXPECT_TRUE(account.balanced()) << session_->hooks().at(hook);
    EXPECT_EQ(account.emitted, at_places[hook]) << session_->hooks().at(hook);
  }
  const model::PathTree all = tree();
  EXPECT_EQ(all.cut_stops, 0U);
  EXPECT_EQ(all.lost_steps, 0U);
  std::uint64_t began = 0;
  for (const std::size_t root : all.roots) began += all.stops[root].packets;
  EXPECT_GE(all.packets(), began) << "packets end as often as they begin, their parts come on top";
}

}  // namespace
}  // namespace weir
