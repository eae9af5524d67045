// Durations, rates and sizes as people write and read them. Pure: no OS.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace weir {

using Nanoseconds = std::chrono::nanoseconds;

/// Parses "500ms", "10s", "5m", "2h", "250us", "10ns"; a bare number or a negative one is refused.
/// The error names what was given and what was expected.
Result<Nanoseconds> parse_duration(std::string_view text);

/// "10 s", "1.5 s", "250 ms", "12 us": at most three significant digits.
std::string format_duration(Nanoseconds value);

/// "1.23 M", "950", "12.3 k": three significant digits, SI prefixes.
std::string format_count(double value);

/// "12.3 Mbit/s" from bits per second.
std::string format_bit_rate(double bits_per_second);

/// RFC 3339 with nanoseconds, UTC: "2026-11-21T10:00:00.000000000Z".
std::string format_utc(std::chrono::sys_time<Nanoseconds> time);

}  // namespace weir
