// nftables' rule trace against nft(8): which rule dropped a packet, and that nothing stays in a namespace's rules.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <optional>
#include <set>

#include "observe/trace/nft/join.h"
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

/// Packets that a device of the namespace has received, from the network header on: what tcpdump would show.
class Tap {
 public:
  Tap(const netns::Netns& ns, const std::string& dev) {
    auto socket = netns::open_socket(ns, AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, htons(ETH_P_ALL));
    if (!socket) return;
    sockaddr_ll where{};
    where.sll_family = AF_PACKET;
    where.sll_protocol = htons(ETH_P_ALL);
    ifreq request{};
    dev.copy(request.ifr_name, IFNAMSIZ - 1);
    if (ioctl(socket->get(), SIOCGIFINDEX, &request) != 0) return;
    where.sll_ifindex = request.ifr_ifindex;
    if (bind(socket->get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0) socket_ = std::move(*socket);
  }
  [[nodiscard]] bool valid() const { return socket_.valid(); }
  std::vector<std::vector<std::byte>> packets() const {
    std::vector<std::vector<std::byte>> all;
    std::vector<std::byte> buffer(2048);
    sockaddr_ll from{};
    for (socklen_t size = sizeof from;; size = sizeof from) {
      const ssize_t got =
          recvfrom(socket_.get(), buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 0) return all;
      if (from.sll_pkttype != PACKET_OUTGOING) all.emplace_back(buffer.begin(), buffer.begin() + got);
    }
  }

 private:
  sys::Fd socket_;
};

TEST_P(NftTrace, EachMessageIsJoinedToOnePacket) {
  const netns::Netns ns = open(host_);
  const Tap tap(ns, "pv0");
  ASSERT_TRUE(tap.valid());
  auto reader = NftTraceReader::open(ns);
  ASSERT_TRUE(reader) << reader.error().message;
  const auto on = NftTraceSwitch::on(ns);
  ASSERT_TRUE(on) << on.error().message;
  std::size_t drops = 0;
  std::size_t joined = 0;
  std::vector<std::vector<std::byte>> seen;
  collect(*reader, [&](const auto& messages) {
    const auto more = tap.packets();
    seen.insert(seen.end(), more.begin(), more.end());
    drops = joined = 0;
    for (const NftTraceMessage& message : messages) {
      if (message.verdict.verdict != "drop") continue;
      ++drops;
      const auto same = [&](const auto& packet) { return observe::same_packet(message, packet); };
      joined += std::ranges::count_if(seen, same) == 1 ? 1 : 0;
    }
    return drops >= 20;
  });
  // Retransmitted SYNs and datagrams of one flow are other packets by their id, which IPv6 does not have.
  if (GetParam() == Family::v4) {
    EXPECT_EQ(joined, drops);
  } else {
    EXPECT_GT(joined, 0U);
  }
}

TEST_P(NftTrace, NeedsRights) {
  const int code = [&] {
    const pid_t child = fork();
    if (child == 0) {
      const auto ns = netns::Netns::open(host_);
      // In the namespace already, and then nobody: setns(2) is not what fails.
      if (!ns || setns(ns->fd(), CLONE_NEWNET) != 0 || !netns::resync() || setresuid(65534, 65534, 65534) != 0)
        _exit(9);
      const auto reader = NftTraceReader::open(*ns);
      const auto on = NftTraceSwitch::on(*ns);
      if (reader || reader.error().code != Errc::permission) _exit(1);
      _exit(on || on.error().code != Errc::permission ? 2 : 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }();
  EXPECT_EQ(code, 0);
  expect_untouched();
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

/// Kernels from 6.16 on also say what conntrack knows; older ones leave it out.
TEST(NftTraceConntrack, ToldWhereTheKernelTellsIt) {
  WEIR_NEED_ROOT();
  TrafficLab lab("nat");
  ASSERT_TRUE(lab.ok()) << lab.why();
  const netns::Netns ns = open(lab.netns("host"));
  auto reader = NftTraceReader::open(ns);
  ASSERT_TRUE(reader) << reader.error().message;
  const auto on = NftTraceSwitch::on(ns, {.address = {}, .protocol = 6, .port = {}});
  ASSERT_TRUE(on) << on.error().message;
  std::vector<NftTraceMessage> messages;
  ASSERT_TRUE(eventually([&] {
    EXPECT_TRUE(reader->read([&](const NftTraceMessage& message) { messages.push_back(message); }));
    return std::ranges::any_of(messages, [](const auto& message) { return message.verdict.handle != 0; });
  }));
  const std::uint64_t vip = handle_of(lab.netns("host"), "weir-lab vip");
  for (const NftTraceMessage& message : messages) {
    if (message.verdict.handle == vip) {
      EXPECT_EQ(message.verdict.chain, "prerouting");
      EXPECT_EQ(message.verdict.verdict, "accept");
    }
    if (!message.ct) continue;
    EXPECT_NE(message.ct->id, 0U);
    EXPECT_NE(message.ct->state, 0U);
  }
}

}  // namespace
}  // namespace weir
