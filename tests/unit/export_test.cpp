// Journeys as captures, traces and lines: read back by code of the test's own, and by tshark where it is installed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/text.h"
#include "export/json_lines.h"
#include "export/pcapng.h"
#include "export/perfetto.h"
#include "support/journeys.h"
#include "sys/process.h"

namespace weir::exporter {
namespace {

using test::some_journeys;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

// 2026-11-21T10:00:00Z minus the second that the made-up clock shows.
constexpr std::chrono::nanoseconds kOffset{1'795'255'199'000'000'000};

/// A stream that takes no more than some bytes.
class FullBuffer : public std::streambuf {
 public:
  explicit FullBuffer(std::size_t room) : room_(room) {}

 protected:
  int_type overflow(int_type c) override { return room_-- > 0 ? c : (room_ = 0, traits_type::eof()); }
  std::streamsize xsputn(const char*, std::streamsize size) override {
    const auto taken = std::min(room_, static_cast<std::size_t>(size));
    room_ -= taken;
    return static_cast<std::streamsize>(taken);
  }

 private:
  std::size_t room_;
};

std::string pcapng() {
  std::ostringstream out;
  const auto count = write_pcapng(out, some_journeys(), kOffset);
  EXPECT_TRUE(count);
  EXPECT_EQ(count->packets, 8U);
  return out.str();
}

std::uint32_t u32(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

TEST(Pcapng, IsMadeOfWholeBlocks) {
  const std::string file = pcapng();
  std::vector<std::uint32_t> types;
  for (std::size_t at = 0; at < file.size();) {
    const std::uint32_t length = u32(file, at + 4);
    ASSERT_GE(length, 12U);
    ASSERT_EQ(length % 4, 0U);
    ASSERT_LE(at + length, file.size());
    EXPECT_EQ(u32(file, at + length - 4), length);
    types.push_back(u32(file, at));
    at += length;
  }
  EXPECT_EQ(types.front(), 0x0A0D0D0AU);
  EXPECT_EQ(std::ranges::count(types, 6U), 8);
  // pod/- raw, pod/eth0 Ethernet, veth-pod Ethernet, raw and cooked, nic0 Ethernet.
  EXPECT_EQ(std::ranges::count(types, 1U), 6);
}

TEST(Pcapng, SaysWhenTheDiskIsFull) {
  for (const std::size_t room : {0U, 100U, 1000U}) {
    FullBuffer buffer(room);
    std::ostream out(&buffer);
    const auto count = write_pcapng(out, some_journeys(), kOffset);
    ASSERT_FALSE(count);
    EXPECT_THAT(count.error().message, HasSubstr("of 8 packets"));
  }
}

class PcapngInTshark : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto version = sys::run_command({"tshark", "--version"}, std::chrono::seconds(30));
    if (!version || !version->status.success()) GTEST_SKIP() << "tshark is not installed";
    std::string pattern = (std::filesystem::temp_directory_path() / "weir-export-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    std::ofstream(folder_ / "test.pcapng", std::ios::binary) << pcapng();
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }
  /// The lines that tshark prints of the capture with these options.
  std::vector<std::string> tshark(const std::vector<std::string>& options) const {
    std::vector<std::string> argv{"tshark", "-n", "-r", (folder_ / "test.pcapng").string()};
    argv.insert(argv.end(), options.begin(), options.end());
    const auto result = sys::run_command(argv, std::chrono::seconds(60));
    EXPECT_TRUE(result && result->status.success());
    std::vector<std::string> lines;
    if (!result) return lines;
    for (const std::string_view line : split(trim(result->out), '\n')) lines.emplace_back(line);
    return lines;
  }
  std::vector<std::string> fields(const std::vector<std::string>& names) const {
    std::vector<std::string> options{"-T", "fields", "-E", "separator=|"};
    for (const std::string& name : names) options.insert(options.end(), {"-e", name});
    return tshark(options);
  }

  std::filesystem::path folder_;
};

TEST_F(PcapngInTshark, HasInterfacesLinksAndTimes) {
  EXPECT_THAT(fields({"frame.interface_name", "frame.encap_type", "frame.protocols"}),
              ElementsAre("pod/-|7|raw:ip:tcp",                  //
                          "pod/eth0|1|eth:ethertype:arp",        //
                          "init/veth-pod|7|raw:ip:icmp:data",    //
                          "pod/eth0|1|eth:ethertype:ip:tcp",     //
                          "init/veth-pod|25|sll:ethertype:arp",  //
                          "init/veth-pod|7|raw:ip:icmp:data",    //
                          "init/veth-pod|1|eth:ethertype:ip:tcp",
                          "init/nic0|1|eth:ethertype:ip:udp:vxlan:eth:ethertype:ip:udp:dns"));
  EXPECT_EQ(fields({"frame.time_epoch"})[1], "1795255200.000000500");
}

TEST_F(PcapngInTshark, HasEveryComment) {
  const auto comments = fields({"frame.comment"});
  ASSERT_THAT(comments, SizeIs(8));
  EXPECT_THAT(comments[0], StartsWith("hook=nf:LOCAL_OUT:first journey=00000000000000a1 sequence=0 "));
  EXPECT_THAT(comments[6], HasSubstr("queue_mapping=1"));
  EXPECT_THAT(comments[6], HasSubstr("changed dev eth0 -> veth-pod, netns pod -> init, queue_mapping 0 -> 1"));
  EXPECT_THAT(comments[5],
              HasSubstr("nft=inet/filter/forward#12 nft_verdict=drop drop=NETFILTER_DROP location=nf_hook_slow+0x9a"));
  EXPECT_THAT(tshark({"-Y", "frame.comment contains \"journey=00000000000000a1\""}), SizeIs(4));
}

nlohmann::json perfetto() {
  std::ostringstream out;
  const auto count = write_perfetto(out, some_journeys(), kOffset);
  EXPECT_TRUE(count);
  EXPECT_EQ(count->slices, 8U);
  EXPECT_EQ(count->journeys, 3U);
  return nlohmann::json::parse(out.str());
}

std::vector<nlohmann::json> phase(const nlohmann::json& trace, const std::string& name) {
  std::vector<nlohmann::json> events;
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] == name) events.push_back(event);
  }
  return events;
}

TEST(Perfetto, HasASliceForEveryEventAndATrackForEveryJourney) {
  const nlohmann::json trace = perfetto();
  EXPECT_EQ(trace["displayTimeUnit"], "ns");
  EXPECT_THAT(phase(trace, "X"), SizeIs(8));
  EXPECT_THAT(phase(trace, "b"), SizeIs(3));
  EXPECT_THAT(phase(trace, "e"), SizeIs(3));
  EXPECT_THAT(phase(trace, "s"), SizeIs(3));
  EXPECT_THAT(phase(trace, "t"), SizeIs(2));
  EXPECT_THAT(phase(trace, "f"), SizeIs(3));
  EXPECT_THAT(phase(trace, "b")[0]["name"], StartsWith("10.0.0.1:5000 > 10.0.0.2:80 tcp SYN"));
  EXPECT_EQ(phase(trace, "b")[2]["args"]["end"], "dropped");
  const auto slices = phase(trace, "X");
  EXPECT_EQ(slices[0]["dur"], 1.001);
  EXPECT_EQ(slices[0]["name"], "nf:LOCAL_OUT:first");
  EXPECT_EQ(slices[5]["args"]["drop"], "NETFILTER_DROP at nf_hook_slow+0x9a");
}

TEST(Perfetto, LetsNoTwoSlicesOfAThreadOverlap) {
  const nlohmann::json trace = perfetto();
  std::map<int, double> busy_until;
  for (const auto& slice : phase(trace, "X")) {
    const int thread = slice["tid"];
    EXPECT_GE(slice["ts"].get<double>(), busy_until[thread] - 1e-6);
    busy_until[thread] = slice["ts"].get<double>() + slice["dur"].get<double>();
  }
  std::map<int, std::string> names;
  for (const auto& name : phase(trace, "M")) {
    if (name["name"] == "thread_name") names[name["tid"]] = name["args"]["name"];
  }
  EXPECT_EQ(names.size(), busy_until.size());
}

TEST(Perfetto, TakesNoJourneysAndSaysWhenTheDiskIsFull) {
  std::ostringstream out;
  ASSERT_TRUE(write_perfetto(out, {}, kOffset));
  EXPECT_TRUE(nlohmann::json::parse(out.str())["traceEvents"].is_array());
  FullBuffer buffer(200);
  std::ostream full(&buffer);
  EXPECT_FALSE(write_perfetto(full, some_journeys(), kOffset));
}

TEST(JsonLines, AreEventsAndASummary) {
  std::ostringstream out;
  model::TraceSummary summary;
  summary.journeys = 3;
  const auto count = write_json_lines(out, some_journeys(), kOffset, &summary);
  ASSERT_TRUE(count);
  EXPECT_EQ(*count, 8U);
  std::vector<nlohmann::json> lines;
  const std::string text = out.str();
  for (const std::string_view line : split(trim(text), '\n')) lines.push_back(nlohmann::json::parse(line));
  ASSERT_THAT(lines, SizeIs(9));
  EXPECT_EQ(lines[0]["time"], "2026-11-21T10:00:00.000000000Z");
  // The event says nothing of the headers; they are known from the one before.
  EXPECT_EQ(lines[2]["packet"]["tcp"]["dport"], 5000);
  EXPECT_EQ(lines[2]["changed"]["queue_mapping"], nlohmann::json::array({0, 1}));
  EXPECT_EQ(lines[8]["schema"], "weir.trace_summary/1");
  FullBuffer buffer(10);
  std::ostream full(&buffer);
  EXPECT_FALSE(write_json_lines(full, some_journeys(), kOffset));
}

}  // namespace
}  // namespace weir::exporter
