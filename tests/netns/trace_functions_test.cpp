// Functions of the kernel by each rung that can look at them: it is the right function with the right packet, where it
// really runs. Rungs that this kernel lacks are refused, and skipped here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "observe/trace/decode.h"
#include "observe/trace/session.h"
#include "observe/trace/symbols.h"
#include "support/namespaces.h"
#include "support/traffic.h"

namespace weir {
namespace {

using observe::FunctionRung;

constexpr int kDatagrams = 5;

class TraceFunctions : public ::testing::TestWithParam<FunctionRung> {
 protected:
  static observe::TraceRequest request() {
    observe::TraceRequest request;
    request.filter = "udp and dst host 10.9.5.2";
    // The packet is their first, third and second argument.
    request.hooks.functions = {"udp_rcv", "ip_rcv", "ip_output"};
    // Where the packet is, hooks at devices say.
    request.hooks.tracepoints = {WEIR_HOOK_net_dev_start_xmit, WEIR_HOOK_netif_receive_skb};
    request.functions_by = GetParam();
    request.stack = true;
    return request;
  }

  /// The events of what is sent meanwhile, by journey.
  static std::map<std::uint64_t, std::vector<model::TraceEvent>> events(observe::TraceSession& session,
                                                                        std::size_t enough) {
    const observe::Symbols symbols = observe::Symbols::load();
    const observe::TraceNames names{.hooks = session.hooks(),
                                    .device =
                                        [](std::uint64_t netns, std::uint32_t ifindex) {
                                          return model::DeviceRef{{netns, ""}, IfIndex{ifindex}, ""};
                                        },
                                    .drop_reason = {},
                                    .symbol = [&](std::uint64_t address) { return symbols.name(address); },
                                    .workload = {}};
    std::map<std::uint64_t, std::vector<model::TraceEvent>> journeys;
    std::size_t seen = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (seen < enough && std::chrono::steady_clock::now() < deadline) {
      const auto polled = session.poll(std::chrono::milliseconds(100), [&](std::span<const std::byte> record) {
        auto event = observe::decode(record, names);
        ASSERT_TRUE(event) << event.error().message;
        ++seen;
        journeys[event->journey].push_back(*std::move(event));
      });
      EXPECT_TRUE(polled) << polled.error().message;
    }
    return journeys;
  }
};

/// "ip_rcv" of "kprobe:ip_rcv".
std::string function_of(const model::TraceEvent& event) {
  return event.hook.name.substr(event.hook.name.find(':') + 1);
}

TEST_P(TraceFunctions, FireWithTheRightPacketWhereTheyRun) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const test::Namespace sender;
  const test::Namespace receiver;
  test::pair(sender, "s0", receiver, "k0", 1);
  sender.ip("addr add 10.9.5.1/24 dev s0\n");
  receiver.ip("addr add 10.9.5.2/24 dev k0\n");
  auto session = observe::TraceSession::start(request());
  if (!session && session.error().code == Errc::unsupported) GTEST_SKIP() << session.error().message;
  ASSERT_TRUE(session) << session.error().message;
  EXPECT_THAT(session->notes(), ::testing::IsEmpty());
  EXPECT_EQ(session->hooks().size(), 5U);
  test::udp_send(sender, test::address("10.9.5.2", test::kPort), kDatagrams, 100);
  const auto journeys = events(*session, 5 * kDatagrams);
  session->stop();
  EXPECT_EQ(journeys.size(), static_cast<std::size_t>(kDatagrams));
  for (const auto& [id, own] : journeys) {
    std::vector<std::string> functions;
    for (const model::TraceEvent& event : own) {
      if (!event.hook.name.starts_with("kprobe:")) continue;
      functions.push_back(function_of(event));
      const bool sends = functions.back() == "ip_output";
      EXPECT_EQ(event.device.netns.id, sends ? sender.id() : receiver.id()) << event.hook.name;
      // 100 bytes behind UDP's header of 8, and before it is taken off IP's of 20.
      EXPECT_EQ(event.skb.len, functions.back() == "udp_rcv" ? 108U : 128U) << event.hook.name;
      EXPECT_THAT(event.stack, ::testing::Contains(::testing::StartsWith(functions.back() + "+0x")))
          << "the stack is of another function";
    }
    EXPECT_THAT(functions, ::testing::ElementsAre("ip_output", "ip_rcv", "udp_rcv"));
  }
  const auto accounts = session->accounts();
  ASSERT_TRUE(accounts) << accounts.error().message;
  for (const auto& [hook, account] : *accounts) {
    EXPECT_TRUE(account.balanced()) << session->hooks().at(hook);
    EXPECT_EQ(account.emitted, static_cast<std::uint64_t>(kDatagrams)) << session->hooks().at(hook);
  }
}

INSTANTIATE_TEST_SUITE_P(By, TraceFunctions,
                         ::testing::Values(FunctionRung::kprobe_multi, FunctionRung::fentry, FunctionRung::kprobe),
                         [](const auto& param) {
                           std::string name = to_string(param.param);
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace weir
