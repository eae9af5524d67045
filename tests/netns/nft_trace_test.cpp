// nftables' rule trace against nft(8): which rule dropped a packet, and that nothing stays in a namespace's rules.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <optional>
#include <set>

#include "observe/trace/nft/reader.h"
#include "observe/trace/nft/switch.h"
#include "support/lab.h"
#include "support/process.h"

namespace weir {
namespace {

using lab::Family;
using observe::NftTraceMessage;
using observe::NftTraceOptions;
using observe::NftTraceReader;
using observe::NftTraceSwitch;
using test::eventually;
using test::TrafficLab;
using ::testing::HasSubstr;
using ::testing::Not;

std::string ruleset(const std::string& netns) {
  return test::run({"ip", "netns", "exec", netns, "nft", "-a", "list", "ruleset"}).out;
}

/// Handle of the rule with this comment, as `nft -a` shows it; 0: there is none.
std::uint64_t handle_of(const std::string& netns, const std::string& comment) {
  const std::string listed = ruleset(netns);
  const std::size_t rule = listed.find('"' + comment + '"');
  if (rule == std::string::npos) return 0;
  const std::size_t handle = listed.find("# handle ", rule);
  return std::stoull(listed.substr(handle + 9));
}

netns::Netns open(const std::string& name) {
  auto ns = netns::Netns::open(name);
  EXPECT_TRUE(ns) << ns.error().message;
  return std::move(*ns);
}

class NftTrace : public testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    lab::Options options;
    options.family = GetParam();
    lab_.emplace("nft-drop", options);
    ASSERT_TRUE(lab_->ok()) << lab_->why();
    host_ = lab_->netns("host");
  }
  /// Reads until `enough(messages)`.
  template <class Enough>
  std::vector<NftTraceMessage> collect(NftTraceReader& reader, Enough&& enough) {
    std::vector<NftTraceMessage> messages;
    EXPECT_TRUE(eventually([&] {
      EXPECT_TRUE(reader.read([&](const NftTraceMessage& message) { messages.push_back(message); }));
      return enough(messages);
    }));
    return messages;
  }
  /// Nothing but the lab's own rules is there.
  void expect_untouched() {
    EXPECT_TRUE(eventually([&] { return ruleset(host_).find("weir_trace_") == std::string::npos; }));
    EXPECT_NE(handle_of(host_, "weir-lab drop"), 0U);
  }

  std::optional<TrafficLab> lab_;
  std::string host_;
};

INSTANTIATE_TEST_SUITE_P(Lab, NftTrace, testing::Values(Family::v4, Family::v6),
                         [](const auto& param) { return param.param == Family::v4 ? "v4" : "v6"; });

TEST_P(NftTrace, NamesTheRuleThatDrops) {
  const netns::Netns ns = open(host_);
  auto reader = NftTraceReader::open(ns);
  ASSERT_TRUE(reader) << reader.error().message;
  const auto on = NftTraceSwitch::on(ns);
  ASSERT_TRUE(on) << on.error().message;
  const auto dropped = [](const NftTraceMessage& message) { return message.verdict.verdict == "drop"; };
  const auto messages = collect(*reader, [&](const auto& all) { return std::ranges::count_if(all, dropped) >= 5; });
  const std::uint64_t drop = handle_of(host_, "weir-lab drop");
  const std::uint64_t jump = handle_of(host_, "weir-lab jump");
  ASSERT_NE(drop, 0U);
  std::set<std::uint32_t> jumped;
  for (const NftTraceMessage& message : messages) {
    EXPECT_TRUE(message.has_packet);
    EXPECT_EQ(message.verdict.table, "lab");
    if (message.verdict.handle == jump) {
      EXPECT_EQ(message.verdict, (model::NftVerdict{"inet", "lab", "forward", jump, "rule", "jump services"}));
      jumped.insert(message.id);
    }
    if (!dropped(message)) continue;
    EXPECT_EQ(message.verdict, (model::NftVerdict{"inet", "lab", "services", drop, "rule", "drop"}));
    EXPECT_TRUE(jumped.contains(message.id));
    ASSERT_GE(message.packet.transport.size(), 4U);
    EXPECT_EQ(
        std::to_integer<int>(message.packet.transport[2]) << 8 | std::to_integer<int>(message.packet.transport[3]),
        4444);
    EXPECT_NE(message.packet.iif, 0U);
    EXPECT_NE(message.packet.oif, 0U);
    EXPECT_EQ(message.nfproto, GetParam() == Family::v4 ? 2 : 10);
    EXPECT_NE(message.time_ns, 0U);
  }
  EXPECT_TRUE(std::ranges::any_of(messages, [](const auto& message) {
    return message.verdict.type == "policy" && message.verdict.verdict == "accept";
  }));
  EXPECT_EQ(reader->overruns(), 0U);
  EXPECT_EQ(reader->malformed(), 0U);
}

TEST_P(NftTrace, TracesOnlyWhatWasAskedFor) {
  const netns::Netns ns = open(host_);
  auto reader = NftTraceReader::open(ns);
  ASSERT_TRUE(reader) << reader.error().message;
  const std::string server = lab_->lab().blueprint().journeys.front().destination;
  const auto on = NftTraceSwitch::on(ns, {.address = server, .protocol = 17, .port = 4444, .per_second = 1000});
  ASSERT_TRUE(on) << on.error().message;
  const auto messages = collect(*reader, [](const auto& all) { return all.size() >= 10; });
  for (const NftTraceMessage& message : messages) {
    ASSERT_GE(message.packet.transport.size(), 4U);
    EXPECT_EQ(std::to_integer<int>(message.packet.transport[2]), 4444 >> 8);
    EXPECT_EQ(std::to_integer<int>(message.packet.transport[3]), 4444 & 0xff);
  }
  const std::string shown = ruleset(host_);
  EXPECT_THAT(shown, HasSubstr("limit rate 1000/second"));
  EXPECT_THAT(shown, HasSubstr("meta nftrace set 1"));
  EXPECT_THAT(shown, HasSubstr("priority raw - 1"));
}

TEST_P(NftTrace, TheTableGoesWithItsOwner) {
  const netns::Netns ns = open(host_);
  {
    const auto on = NftTraceSwitch::on(ns);
    ASSERT_TRUE(on) << on.error().message;
    EXPECT_THAT(ruleset(host_), HasSubstr(on->table()));
    const auto second = NftTraceSwitch::on(ns);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Errc::busy);
    EXPECT_THAT(ruleset(host_), HasSubstr(on->table())) << "the first one stays";
  }
  expect_untouched();
}

TEST_P(NftTrace, TheTableGoesWhenItsOwnerIsKilled) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto ns = netns::Netns::open(host_);
    const auto on = ns ? NftTraceSwitch::on(*ns) : Result<NftTraceSwitch>(fail(Errc::failed, "no namespace"));
    if (!on) _exit(1);
    for (;;) pause();
  }
  const std::string table = "weir_trace_" + std::to_string(child);
  const bool there = eventually([&] { return ruleset(host_).find(table) != std::string::npos; });
  EXPECT_TRUE(there);
  kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  expect_untouched();
}

TEST_P(NftTrace, CountsWhatItMissed) {
  const netns::Netns ns = open(host_);
  auto reader = NftTraceReader::open(ns);
  ASSERT_TRUE(reader) << reader.error().message;
  const int least = 1;
  ASSERT_EQ(setsockopt(reader->fd(), SOL_SOCKET, SO_RCVBUF, &least, sizeof least), 0);
  const auto on = NftTraceSwitch::on(ns);
  ASSERT_TRUE(on) << on.error().message;
  // Nobody reads while packets pass.
  const auto before = lab_->lab().report()->delivered_packets;
  EXPECT_TRUE(eventually([&] { return lab_->lab().report()->delivered_packets >= before + 50; }));
  collect(*reader, [&](const auto&) { return reader->overruns() > 0; });
}

TEST_P(NftTrace, AnotherNamespaceHearsNothing) {
  const netns::Netns ns = open(host_);
  auto elsewhere = NftTraceReader::open(open(lab_->netns("server")));
  auto reader = NftTraceReader::open(ns);
  ASSERT_TRUE(elsewhere && reader);
  const auto on = NftTraceSwitch::on(ns);
  ASSERT_TRUE(on) << on.error().message;
  collect(*reader, [](const auto& all) { return all.size() >= 20; });
  EXPECT_EQ(*elsewhere->read([](const NftTraceMessage&) {}), 0U);
  EXPECT_THAT(ruleset(lab_->netns("server")), Not(HasSubstr("weir_trace_")));
}

}  // namespace
}  // namespace weir
