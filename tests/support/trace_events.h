// What `weir trace --json` and `weir show --json` print, for tests: events by journey, and the books.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace weir::test {

struct TracedEvents {
  std::map<std::string, std::vector<nlohmann::json>> journeys;  ///< by id, events in order
  nlohmann::json summary;                                       ///< null until the end was printed

  /// Takes what was printed since the last call; a line that is not whole yet waits for the next one.
  void read(std::string_view text) {
    rest_ += text;
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = rest_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      nlohmann::json document = nlohmann::json::parse(rest_.begin() + static_cast<std::ptrdiff_t>(begin),
                                                      rest_.begin() + static_cast<std::ptrdiff_t>(end));
      if (document["schema"] == "weir.event/1")
        journeys[document["journey"]].push_back(std::move(document));
      else if (document["schema"] == "weir.trace_summary/1")
        summary = std::move(document);
    }
    rest_.erase(0, begin);
  }

  [[nodiscard]] std::uint64_t last_ns() const {
    std::uint64_t last = 0;
    for (const auto& [id, events] : journeys) last = std::max(last, events.back()["time_ns"].get<std::uint64_t>());
    return last;
  }

 private:
  std::string rest_;
};

inline TracedEvents read_events(std::string_view text) {
  TracedEvents traced;
  traced.read(text);
  return traced;
}

inline std::uint64_t number(const nlohmann::json& account, const char* key) {
  return account[key].get<std::uint64_t>();
}

/// "sport" or "dport" of a packet; 0 without ports.
inline std::uint16_t port_of(const nlohmann::json& packet, const char* key) {
  for (const char* l4 : {"udp", "tcp"}) {
    if (packet.contains(l4)) return packet[l4][key];
  }
  return 0;
}

inline void expect_balanced(const nlohmann::json& account) {
  EXPECT_EQ(number(account, "seen"), number(account, "emitted") + number(account, "filtered") +
                                         number(account, "sampled_out") + number(account, "lost"))
      << account.dump();
}

/// No event found the ring full; of firings that the kernel itself leaves out while a program is interrupted, few.
inline void expect_room_for_all(const nlohmann::json& summary) {
  EXPECT_EQ(number(summary, "lost"), number(summary, "missed")) << summary.dump();
  EXPECT_LE(number(summary, "missed") * 1000, number(summary, "seen")) << summary.dump();
}

/// The sums of each hook and in total; that everything was printed, where nothing was left out afterwards.
inline void expect_books(const TracedEvents& traced) {
  ASSERT_FALSE(traced.summary.is_null());
  expect_balanced(traced.summary);
  for (const auto& [name, account] : traced.summary["hooks"].items()) expect_balanced(account);
  std::uint64_t printed = 0;
  for (const auto& [id, events] : traced.journeys) {
    for (const nlohmann::json& event : events) printed += event["nft"].is_null() ? 1 : 0;
  }
  EXPECT_EQ(number(traced.summary, "emitted"), printed);
  EXPECT_EQ(number(traced.summary, "journeys"), traced.journeys.size());
}

}  // namespace weir::test
