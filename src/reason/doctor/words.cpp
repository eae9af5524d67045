#include "reason/doctor/words.h"

#include <fmt/format.h>

#include <algorithm>

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

}  // namespace weir::reason::words
