#include <gtest/gtest.h>

#include "base/text.h"
#include "base/units.h"

namespace weir {
namespace {

TEST(ParseDuration, TakesTheUnitsPeopleWrite) {
  EXPECT_EQ(*parse_duration("500ms"), std::chrono::milliseconds(500));
  EXPECT_EQ(*parse_duration("10s"), std::chrono::seconds(10));
  EXPECT_EQ(*parse_duration("1.5m"), std::chrono::seconds(90));
  EXPECT_EQ(*parse_duration("0s"), std::chrono::seconds(0));
}

TEST(ParseDuration, RefusesTheRestByName) {
  for (const char* bad : {"", "10", "s", "-5s", "1x", "10 s", "nan", "1e30h", "99999999999h"}) {
    const auto result = parse_duration(bad);
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().code, Errc::usage);
    EXPECT_NE(result.error().message.find(bad), std::string::npos);
  }
}

TEST(Format, WritesThreeDigits) {
  EXPECT_EQ(format_duration(std::chrono::milliseconds(1500)), "1.50 s");
  EXPECT_EQ(format_duration(std::chrono::microseconds(12)), "12 us");
  EXPECT_EQ(format_count(1234567), "1.23 M");
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_bit_rate(47.7e6), "47.7 Mbit/s");
  EXPECT_EQ(format_utc(std::chrono::sys_time<Nanoseconds>(std::chrono::seconds(0)) + Nanoseconds(7)),
            "1970-01-01T00:00:00.000000007Z");
}

TEST(Text, SplitKeepsEmptyParts) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string_view>{"a", "", "b"}));
  EXPECT_EQ(split("", ','), (std::vector<std::string_view>{""}));
}

TEST(Text, ParseU64WantsAllOfIt) {
  EXPECT_EQ(parse_u64("42"), 42U);
  EXPECT_EQ(parse_u64("ff", 16), 255U);
  EXPECT_FALSE(parse_u64("42x"));
  EXPECT_FALSE(parse_u64(""));
  EXPECT_FALSE(parse_u64("-1"));
}

TEST(Text, SuggestsTheNearestWord) {
  EXPECT_EQ(suggest("doctr", {"doctor", "queues", "lab"}), "did you mean doctor?");
  EXPECT_EQ(suggest("zzzzzz", {"doctor", "lab"}), "known: doctor, lab");
}

TEST(Text, PrintableKeepsTheTerminalSafe) {
  EXPECT_EQ(printable("eth0\x1b[31m"), "eth0?[31m");
  EXPECT_EQ(printable("gr\xc3\xbcn"), "gr\xc3\xbcn");
}

TEST(Errno, NormalisesTheSignOnce) {
  EXPECT_EQ(errno_error(-ENODEV, "x").sys_errno, ENODEV);
  EXPECT_EQ(errno_error(ENODEV, "x").code, Errc::not_found);
  EXPECT_EQ(errno_error(-EPERM, "x").code, Errc::permission);
}

}  // namespace
}  // namespace weir
