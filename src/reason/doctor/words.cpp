#include "reason/doctor/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace weir::reason::words {

std::string list_of(const std::vector<std::uint32_t>& numbers) {
  std::vector<std::uint32_t> sorted = numbers;
  std::ranges::sort(sorted);
  std::string text;
  for (std::size_t first = 0; first < sorted.size();) {
    std::size_t last = first;
    while (last + 1 < sorted.size() && sorted[last + 1] == sorted[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += first == last ? std::to_string(sorted[first]) : fmt::format("{}-{}", sorted[first], sorted[last]);
    first = last + 1;
  }
  return text;
}

std::string devices_of(const std::vector<model::Culprit>& culprits) {
  if (culprits.empty()) return "";
  std::string text = to_string(culprits.front().device);
  if (culprits.size() == 2) return text + " and " + to_string(culprits.back().device);
  if (culprits.size() > 2) text += fmt::format(" and {} other devices", culprits.size() - 1);
  return text;
}

double rounded(double value) {
  return std::round(value * 1e4) / 1e4;
}

std::string command_in(const model::NetnsRef& netns, const std::string& command) {
  if (netns.name.empty() || netns.name == "init") return "`" + command + "`";
  // "id:N" has no name that ip-netns(8) could take.
  if (netns.name.find(':') != std::string::npos) return "inside " + netns.name + " `" + command + "`";
  return "`ip netns exec " + netns.name + " sh -c '" + command + "'`";
}

std::string mask_of_first(std::uint32_t count) {
  std::string text;
  for (std::uint32_t group = (count + 31) / 32; group-- > 0;) {
    const std::uint32_t bits = count - group * 32;
    const std::uint32_t mask = bits >= 32 ? 0xFFFFFFFFU : (1U << bits) - 1;
    text += text.empty() ? fmt::format("{:x}", mask) : fmt::format(",{:08x}", mask);
  }
  return text;
}

}  // namespace weir::reason::words
