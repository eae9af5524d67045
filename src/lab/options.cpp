#include "lab/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "base/text.h"

namespace weir::lab {

namespace {

constexpr std::size_t kMaxDeviceName = 15;  // IFNAMSIZ - 1
constexpr std::size_t kMaxPrefix = 40;
constexpr std::string_view kDigits = "0123456789";

bool plain_word(std::string_view text) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  return !text.empty() && text.find_first_not_of(kAlphabet) == std::string_view::npos && text[0] != '.' &&
         text[0] != '-';
}

struct Range {
  const char* option;
  std::uint64_t value;
  std::uint64_t low;
  std::uint64_t high;
};

Result<void> check_range(const Range& range) {
  if (range.value >= range.low && range.value <= range.high) return {};
  return fail(Errc::usage, fmt::format("{} {}: expected {} to {}", range.option, range.value, range.low, range.high));
}

Result<void> check_device(const char* option, const std::string& first, unsigned count) {
  if (plain_word(first) && series_name(first, count - 1).size() <= kMaxDeviceName) return {};
  return fail(Errc::usage, fmt::format("{} '{}': expected a device name of at most {} letters, digits, '_', '.' or '-'",
                                       option, first, kMaxDeviceName));
}

Result<void> check_names(const Options& options) {
  if (!plain_word(options.prefix) || options.prefix.size() > kMaxPrefix) {
    return fail(Errc::usage, fmt::format("--prefix '{}': expected at most {} letters, digits, '_', '.' or '-', not "
                                         "beginning with '.' or '-'",
                                         options.prefix, kMaxPrefix));
  }
  if (auto ok = check_device("--nic-name", options.nic_name, options.nics); !ok) return ok;
  if (options.port_name.empty()) return {};
  if (auto ok = check_device("--port-name", options.port_name, options.pods + options.nics); !ok) return ok;
  const std::string root = options.nic_name.substr(0, options.nic_name.find_last_not_of(kDigits) + 1);
  if (options.port_name.substr(0, options.port_name.find_last_not_of(kDigits) + 1) != root) return {};
  return fail(Errc::usage, fmt::format("--port-name '{}' and --nic-name '{}' would name two devices alike",
                                       options.port_name, options.nic_name));
}

}  // namespace

Result<void> check(const Options& options) {
  const std::array<Range, 6> ranges{{{"--queues", options.queues, 2, 64},
                                     {"--pods", options.pods, 1, 64},
                                     {"--nics", options.nics, 1, 8},
                                     {"--pod-queues", options.pod_queues, 0, 64},
                                     {"--flows", options.flows, 0, 20'000},
                                     {"--pps", options.pps, 0, 2'000'000}}};
  for (const Range& range : ranges) {
    if (auto ok = check_range(range); !ok) return ok;
  }
  if (!options.mq_tbf.empty()) {
    if (auto rate = parse_rate_bps(options.mq_tbf); !rate) return pass(std::move(rate), "--mq-tbf");
  }
  return check_names(options);
}

Result<std::uint64_t> parse_rate_bps(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::uint64_t bps;
  };
  constexpr std::array<Unit, 4> kUnits{{{"bit", 1}, {"kbit", 1'000}, {"mbit", 1'000'000}, {"gbit", 1'000'000'000}}};
  const std::size_t digits = std::min(text.find_first_not_of(kDigits), text.size());
  const auto number = parse_u64(text.substr(0, digits));
  const auto unit = std::ranges::find(kUnits, text.substr(digits), &Unit::name);
  // tc(8) takes less, but below this its token bucket cannot pass a single full frame in a second.
  constexpr std::uint64_t kLeastBps = 12'000;
  if (number && unit != kUnits.end() && *number <= 100'000'000'000 / unit->bps && *number * unit->bps >= kLeastBps) {
    return *number * unit->bps;
  }
  return fail(Errc::usage, fmt::format("'{}' is not a rate: expected 12kbit to 100gbit, such as 50mbit", text));
}

std::string series_name(const std::string& first, unsigned index) {
  const std::size_t root = first.find_last_not_of(kDigits) + 1;
  const auto number = parse_u64(std::string_view(first).substr(root));
  if (number && *number <= std::numeric_limits<std::uint32_t>::max()) {
    return fmt::format("{}{}", first.substr(0, root), *number + index);
  }
  return index == 0 ? first : fmt::format("{}{}", first, index);
}

}  // namespace weir::lab
