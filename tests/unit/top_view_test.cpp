// What the keys of `weir flows top` do, and what it shows.
#include "cli/top_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

model::FlowTuple tuple(std::uint8_t from, std::uint16_t port) {
  model::FlowTuple made;
  made.source = {10, 0, 0, from};
  made.destination = {10, 0, 0, 9};
  made.source_port = port;
  made.destination_port = 80;
  made.ethertype = 0x0800;
  made.protocol = 6;
  return made;
}

model::WorkloadRef owner(const std::string& name) {
  model::WorkloadRef made;
  made.kind = "container";
  made.name = made.id = name;
  return made;
}

model::Flow flow(std::uint8_t from, std::uint64_t bytes, std::uint64_t packets, std::uint32_t srtt_us,
                 std::uint32_t retransmits) {
  model::Flow made;
  made.key = {.netns = 7, .ifindex = 3, .direction = model::FlowDirection::tx, .vlan = 0, .tuple = tuple(from, 4000)};
  made.device = {.netns = {7, "pod"}, .ifindex = IfIndex{3}, .name = "eth0"};
  made.total = made.window = {.bytes = bytes, .packets = packets, .wire_packets = packets};
  made.rate_bps = static_cast<double>(bytes) * 8;
  made.tcp = model::FlowTcp{.srtt_us = srtt_us, .retransmits = retransmits};
  made.workload = owner("docker-" + std::to_string(from));
  made.connection = model::FlowConnection{.id = from, .counted = true, .sent = made.key.tuple};
  return made;
}

model::Connection connection(std::uint8_t from, std::uint64_t sent, std::uint64_t answered) {
  model::Connection made;
  made.id = from;
  made.initiator = made.responder = tuple(from, 4000);
  made.to_responder.window = {.bytes = sent, .packets = 1, .wire_packets = 1};
  made.to_responder.rate_bps = static_cast<double>(sent);
  made.to_initiator.window = {.bytes = answered, .packets = 1, .wire_packets = 1};
  made.to_initiator.rate_bps = static_cast<double>(answered);
  made.initiator_workload = owner("docker-" + std::to_string(from));
  made.responder_workload = owner("server");
  return made;
}

model::FlowWindow three_flows() {
  model::FlowWindow window;
  window.duration = std::chrono::seconds(1);
  window.flows = {flow(1, 9000, 2, 50, 0), flow(2, 500, 90, 10, 4), flow(3, 700, 5, 3000, 1)};
  window.flows[0].flow_class = model::FlowClass::elephant;
  return window;
}

std::vector<std::string> names(const TopWindow& window, const TopState& state) {
  std::vector<std::string> all;
  for (const TopRow& row : top_rows(window, state)) all.push_back(row.name);
  return all;
}

TEST(TopViewTest, SortsByEveryKeyBothWays) {
  const TopWindow window = TopReader().read(three_flows(), {});
  TopState state;
  state.press("f");
  EXPECT_THAT(names(window, state), ElementsAre("docker-1", "docker-3", "docker-2"));
  state.press("n");
  EXPECT_THAT(names(window, state), ElementsAre("docker-2", "docker-3", "docker-1"));
  state.press("s");
  EXPECT_THAT(names(window, state), ElementsAre("docker-3", "docker-1", "docker-2"));
  state.press("x");
  EXPECT_THAT(names(window, state), ElementsAre("docker-2", "docker-3", "docker-1"));
  state.press("bi");
  EXPECT_THAT(names(window, state), ElementsAre("docker-2", "docker-3", "docker-1"));
}

TEST(TopViewTest, FiltersByWhatIsTypedBehindASlash) {
  const TopWindow window = TopReader().read(three_flows(), {});
  const auto typed = [&](std::string_view keys) {
    TopState state;
    state.press(keys);
    return names(window, state);
  };
  EXPECT_THAT(typed("f/10.0.0.2:4000"), ElementsAre("docker-2"));
  EXPECT_THAT(typed("f/DOCKER-3"), ElementsAre("docker-3"));
  EXPECT_THAT(typed("f/elephant"), ElementsAre("docker-1"));
  EXPECT_THAT(typed("f/pod/eth0"), ElementsAre("docker-1", "docker-3", "docker-2"));
  EXPECT_THAT(typed("f/docker-12"), IsEmpty());
  EXPECT_THAT(typed("f/docker-12\177"), ElementsAre("docker-1"));
  EXPECT_THAT(typed("f/docker-1\nn"), ElementsAre("docker-1"));  // Enter: keys mean what they meant
  EXPECT_THAT(typed("f/docker-1\033"), ElementsAre("docker-1", "docker-3", "docker-2"));  // Esc clears it
  EXPECT_THAT(typed("f/docker-1\n\033"), ElementsAre("docker-1", "docker-3", "docker-2"));
}

TEST(TopViewTest, TakesNoPartOfAnotherKeyForAKey) {
  TopState state;
  state.press("\033[A\033OQ\033[6~\033[1;5C");
  EXPECT_FALSE(state.quit || state.paused || state.typing || state.every_device);
  state.press("/q");
  EXPECT_FALSE(state.quit) << "a letter of the filter";
  EXPECT_EQ(state.filter, "q");
  state.press("\033[D\nq");
  EXPECT_TRUE(state.quit);
  EXPECT_EQ(state.filter, "q");
}

TEST(TopViewTest, AddsUpTheConnectionsOfAWorkload) {
  const TopWindow window = TopReader().read({}, {connection(1, 100, 10), connection(2, 300, 20)});
  const std::vector<TopRow> rows = top_rows(window, {});
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].name, "server");
  EXPECT_EQ(rows[0].tx_bps, 30);
  EXPECT_EQ(rows[0].rx_bps, 400);
  EXPECT_EQ(rows[0].bytes, 430U);
  EXPECT_EQ(rows[0].flows, 2U);
  EXPECT_EQ(rows[1].name, "docker-2");
  EXPECT_EQ(rows[1].tx_bps, 300);
  TopState state;
  state.press("/10.0.0.1");
  EXPECT_THAT(names(window, state), ElementsAre("docker-1", "server"));
}

TEST(TopViewTest, CountsRetransmitsWithinTheWindow) {
  TopReader reader;
  auto flows = three_flows();
  flows.flows[2].total.bytes += 1;  // began before anybody looked: what it had then is not news
  TopState state;
  state.press("fx");
  auto rows = top_rows(reader.read(flows, {}), state);
  EXPECT_EQ(rows[0].retransmits, 4U);
  EXPECT_EQ(rows[1].retransmits + rows[2].retransmits, 0U);
  flows.flows[2].tcp->retransmits += 7;
  rows = top_rows(reader.read(flows, {}), state);
  EXPECT_EQ(rows[0].name, "docker-3");
  EXPECT_EQ(rows[0].retransmits, 7U);
  EXPECT_EQ(rows[1].retransmits, 0U);
}

TEST(TopViewTest, FitsTheTerminalAndSaysWhatIsMissing) {
  const TopWindow window = TopReader().read(three_flows(), {});
  TopState state;
  state.press("f");
  const std::string whole = render_top(window, state, 40);
  EXPECT_THAT(whole, HasSubstr("flows by rate   3 flows, 1 elephant (*) in 1 s"));
  EXPECT_THAT(whole, HasSubstr("\n*    72 kbit/s"));
  EXPECT_THAT(whole, Not(HasSubstr(" more\n")));
  const std::string small = render_top(window, state, 6);
  EXPECT_EQ(std::ranges::count(small, '\n'), 6);
  EXPECT_THAT(small, HasSubstr("  2 more\n"));
  for (const std::size_t columns : {20U, 40U, 80U, 200U}) {
    const std::string keys = render_top_keys(state, columns);
    for (const char* key : {"q quit", "w workloads", "/ filter", "x retransmits", "p pause"}) {
      EXPECT_THAT(keys, HasSubstr(key));
    }
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = keys.find('\n', begin)) != std::string::npos; begin = end + 1) {
      EXPECT_LE(end - begin, columns);
    }
  }
}

TEST(TopViewTest, TellsALedgerThatDoesNotClose) {
  auto flows = three_flows();
  flows.ledger.lines.push_back({.device = flows.flows[0].device,
                                .direction = model::FlowDirection::tx,
                                .accounted_bytes = 900'000,
                                .overflow_bytes = 0,
                                .interface_bytes = 1'000'000});
  EXPECT_THAT(TopReader().read(flows, {}).ledger,
              HasSubstr("+ overflow 0 B of 1 MB on the interfaces: OPEN by tx pod/eth0 100 kB"));
  flows.ledger.lines[0].moment_bytes = 100'000;
  EXPECT_THAT(TopReader().read(flows, {}).ledger, HasSubstr("closes"));
}

}  // namespace
}  // namespace weir::cli
