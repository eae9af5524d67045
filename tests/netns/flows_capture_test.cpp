// The flows of a capture are those that tshark finds in it.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/lab.h"
#include "support/process.h"

namespace weir {
namespace {

using nlohmann::json;

struct Side {
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;
};

/// By "source > destination".
using Sides = std::map<std::string, Side>;

std::string in_folder(const std::string& name) {
  return ::testing::TempDir() + "weir-" + std::to_string(::getpid()) + "-" + name;
}

/// What `tshark -q -z conv,KIND` says: A <-> B, then frames and bytes from B to A, from A to B, and of both.
Sides of_tshark(const std::string& file, const std::string& kind) {
  const test::Outcome said =
      test::run({"tshark", "-n", "-r", file, "-o", "ip.defragment:FALSE", "-q", "-z", "conv," + kind});
  EXPECT_EQ(said.code, 0) << said.err;
  Sides sides;
  std::istringstream lines(said.out);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string a;
    std::string arrow;
    std::string b;
    Side to_a;
    Side to_b;
    std::string unit;
    if (!(words >> a >> arrow >> b) || arrow != "<->") continue;
    const auto read = [&](Side& side) {
      words >> side.frames >> side.bytes >> unit;
      if (unit == "kB") side.bytes = 0;  // rounded: not to be compared
    };
    read(to_a);
    read(to_b);
    if (to_a.frames != 0) sides[b + " > " + a] = to_a;
    if (to_b.frames != 0) sides[a + " > " + b] = to_b;
  }
  return sides;
}

std::string end_of(const json& flow, const char* address, const char* port) {
  return flow[address].get<std::string>() + ":" + std::to_string(flow[port].get<int>());
}

Sides of_weir(const std::string& file, const std::string& protocol) {
  const test::Outcome said = test::run({WEIR_BINARY, "flows", "list", "--from", file, "--json"});
  EXPECT_EQ(said.code, 0) << said.err;
  Sides sides;
  std::istringstream lines(said.out);
  for (std::string line; std::getline(lines, line);) {
    const json document = json::parse(line);
    if (document["schema"] != "weir.flow/1" || document["protocol"] != protocol) continue;
    sides[end_of(document, "src", "sport") + " > " + end_of(document, "dst", "dport")] = {.frames = document["packets"],
                                                                                          .bytes = document["bytes"]};
  }
  return sides;
}

/// A capture of the lab's traffic, taken where it is translated.
void capture(const std::string& file, const char* scenario, lab::Family family, const std::string& device) {
  test::TrafficLab lab(scenario, {.family = family});
  ASSERT_TRUE(lab.ok()) << lab.why();
  const test::Outcome taken = test::run({"ip", "netns", "exec", lab.netns("host"), "tcpdump", "-Z", "root", "-i",
                                         device, "-c", "600", "-w", file, "--immediate-mode"},
                                        std::chrono::seconds(60));
  ASSERT_EQ(taken.code, 0) << taken.err;
}

class CapturedFlows : public ::testing::TestWithParam<std::pair<lab::Family, const char*>> {};

TEST_P(CapturedFlows, AreThoseOfTshark) {
  WEIR_NEED_ROOT();
  const auto& [family, device] = GetParam();
  const std::string file = in_folder("flows.pcap");
  ASSERT_NO_FATAL_FAILURE(capture(file, "nat", family, device));
  const std::string again = in_folder("flows.pcapng");
  ASSERT_EQ(test::run({"tshark", "-r", file, "-w", again, "-F", "pcapng"}).code, 0);
  for (const std::string& one : {file, again}) {
    for (const std::string protocol : {"tcp", "udp"}) {
      SCOPED_TRACE(one + " " + protocol);
      const Sides truth = of_tshark(one, protocol);
      const Sides mine = of_weir(one, protocol);
      EXPECT_FALSE(truth.empty());
      EXPECT_EQ(mine.size(), truth.size());
      for (const auto& [tuple, side] : truth) {
        ASSERT_TRUE(mine.contains(tuple)) << tuple;
        EXPECT_EQ(mine.at(tuple).frames, side.frames) << tuple;
        if (side.bytes == 0) continue;
        EXPECT_EQ(mine.at(tuple).bytes, side.bytes) << tuple;
      }
    }
  }
  std::remove(file.c_str());
  std::remove(again.c_str());
}

INSTANTIATE_TEST_SUITE_P(Links, CapturedFlows,
                         ::testing::Values(std::pair(lab::Family::v4, "pv0"), std::pair(lab::Family::v6, "pv0"),
                                           std::pair(lab::Family::v4, "any")));

TEST(CapturedFlowsErrors, AreOneClearLine) {
  const std::string file = in_folder("no-capture");
  std::ofstream(file) << "this is no capture at all, but it is long enough to be one";
  const test::Outcome foreign = test::run({WEIR_BINARY, "flows", "list", "--from", file});
  EXPECT_EQ(foreign.code, 1);
  EXPECT_NE(foreign.err.find("a pcap or pcapng file is expected"), std::string::npos) << foreign.err;
  const test::Outcome missing = test::run({WEIR_BINARY, "flows", "list", "--from", file + "-not-there"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_NE(missing.err.find("there is no such file"), std::string::npos) << missing.err;
  const test::Outcome both = test::run({WEIR_BINARY, "flows", "list", "eth0", "--from", file});
  EXPECT_EQ(both.code, 2);
  const test::Outcome no_time = test::run({WEIR_BINARY, "flows", "list", "--for", "0s"});
  EXPECT_EQ(no_time.code, 2);
  EXPECT_NE(no_time.err.find("between 100ms and 24h"), std::string::npos) << no_time.err;
  std::remove(file.c_str());
}

}  // namespace
}  // namespace weir
