#include "base/units.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <limits>

namespace weir {

namespace {

struct Suffix {
  std::string_view text;
  std::int64_t nanoseconds;
};
constexpr std::array<Suffix, 6> kSuffixes{{{"ns", 1},
                                           {"us", 1'000},
                                           {"ms", 1'000'000},
                                           {"s", 1'000'000'000},
                                           {"m", 60'000'000'000},
                                           {"h", 3'600'000'000'000}}};

std::string three_digits(double value) {
  const double magnitude = std::fabs(value);
  if (magnitude >= 100 || value == std::floor(value)) return fmt::format("{:.0f}", value);
  return magnitude >= 10 ? fmt::format("{:.1f}", value) : fmt::format("{:.2f}", value);
}

std::string scaled(double value, std::string_view unit) {
  static constexpr std::array<std::string_view, 5> kPrefix{"", "k", "M", "G", "T"};
  std::size_t step = 0;
  while (std::fabs(value) >= 1000 && step + 1 < kPrefix.size()) {
    value /= 1000;
    ++step;
  }
  const std::string tail = fmt::format("{}{}", kPrefix[step], unit);
  return tail.empty() ? three_digits(value) : fmt::format("{} {}", three_digits(value), tail);
}

}  // namespace

Result<Nanoseconds> parse_duration(std::string_view text) {
  const auto bad = [&] {
    return fail(Errc::usage, fmt::format("'{}' is not a duration", text), "write it as 500ms, 10s, 5m or 2h");
  };
  double number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (ec != std::errc{} || !std::isfinite(number) || number < 0) return bad();
  const std::string_view suffix = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const Suffix& candidate : kSuffixes) {
    if (suffix != candidate.text) continue;
    const double total = number * static_cast<double>(candidate.nanoseconds);
    if (total >= static_cast<double>(std::numeric_limits<std::int64_t>::max())) return bad();
    return Nanoseconds(static_cast<std::int64_t>(total));
  }
  return bad();
}

std::string format_duration(Nanoseconds value) {
  const auto ns = static_cast<double>(value.count());
  if (std::fabs(ns) >= 1e9) return three_digits(ns / 1e9) + " s";
  if (std::fabs(ns) >= 1e6) return three_digits(ns / 1e6) + " ms";
  if (std::fabs(ns) >= 1e3) return three_digits(ns / 1e3) + " us";
  return three_digits(ns) + " ns";
}

std::string format_count(double value) {
  return scaled(value, "");
}

std::string format_bit_rate(double bits_per_second) {
  return scaled(bits_per_second, "bit/s");
}

std::string format_utc(std::chrono::sys_time<Nanoseconds> time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const std::time_t whole = seconds.time_since_epoch().count();
  std::tm broken_down{};
  gmtime_r(&whole, &broken_down);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:09}Z", broken_down, (time - seconds).count());
}

}  // namespace weir
