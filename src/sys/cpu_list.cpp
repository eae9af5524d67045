#include "sys/cpu_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/text.h"

namespace weir::sys {

namespace {

std::optional<std::uint32_t> parse_cpu(std::string_view text) {
  const auto value = parse_u64(text);
  if (!value || *value >= kMostCpus) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

std::unexpected<Error> not_a(const char* what, std::string_view text) {
  return fail(Errc::failed, fmt::format("\"{}\" is not a {}", text.substr(0, 40), what));
}

}  // namespace

Result<std::vector<std::uint32_t>> parse_cpu_list(std::string_view text) {
  std::vector<std::uint32_t> cpus;
  text = trim(text);
  if (text.empty()) return cpus;
  for (const std::string_view part : split(text, ',')) {
    const std::size_t dash = part.find('-');
    const auto first = parse_cpu(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_cpu(part.substr(dash + 1));
    if (!first || !last || *last < *first) return not_a("list of CPUs", text);
    for (std::uint32_t cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
    if (cpus.size() > 2 * std::size_t{kMostCpus}) return not_a("list of CPUs", text);
  }
  std::ranges::sort(cpus);
  cpus.erase(std::ranges::unique(cpus).begin(), cpus.end());
  return cpus;
}

Result<std::vector<std::uint32_t>> parse_cpu_mask(std::string_view text) {
  std::vector<std::uint32_t> cpus;
  text = trim(text);
  if (text.starts_with("0x")) text.remove_prefix(2);
  const auto words = split(text, ',');
  if (words.size() > kMostCpus / 32) return not_a("mask of CPUs", text);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[words.size() - 1 - i];
    const auto bits = parse_u64(word, 16);
    if (!bits || word.size() > 8) return not_a("mask of CPUs", text);
    for (std::uint32_t bit = 0; bit < 32; ++bit) {
      if ((*bits >> bit & 1) != 0) cpus.push_back(static_cast<std::uint32_t>(i) * 32 + bit);
    }
  }
  return cpus;
}

std::string format_cpu_list(const std::vector<std::uint32_t>& cpus) {
  std::string text;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t end = i;
    while (end + 1 < cpus.size() && cpus[end + 1] == cpus[end] + 1) ++end;
    if (!text.empty()) text += ',';
    text += end == i ? fmt::format("{}", cpus[i]) : fmt::format("{}-{}", cpus[i], cpus[end]);
    i = end + 1;
  }
  return text;
}

std::string format_cpu_mask(const std::vector<std::uint32_t>& cpus) {
  if (cpus.empty()) return "0";
  std::vector<std::uint32_t> words(std::ranges::max(cpus) / 32 + 1);
  for (const std::uint32_t cpu : cpus) words[cpu / 32] |= std::uint32_t{1} << cpu % 32;
  std::string text = fmt::format("{:x}", words.back());
  for (std::size_t i = words.size() - 1; i-- > 0;) text += fmt::format(",{:08x}", words[i]);
  return text;
}

}  // namespace weir::sys
