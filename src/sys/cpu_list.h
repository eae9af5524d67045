// The two ways in which the kernel writes sets of CPUs and queues. Pure: no OS.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weir::sys {

/// Larger numbers are refused: far beyond CONFIG_NR_CPUS, and a range can then not fill the memory.
inline constexpr std::uint32_t kMostCpus = 65536;

/// Parses a list: "0-3,8" is 0 1 2 3 8; "" is none. Ascending, each number once.
Result<std::vector<std::uint32_t>> parse_cpu_list(std::string_view text);

/// Parses a mask of 32-bit words in hexadecimal, the most significant first: "1,00000003" is 0 1 32.
Result<std::vector<std::uint32_t>> parse_cpu_mask(std::string_view text);

/// "0-3,8" of an ascending list.
std::string format_cpu_list(const std::vector<std::uint32_t>& cpus);

/// "1,00000003", as xps_cpus and smp_affinity are written; "0" for none.
std::string format_cpu_mask(const std::vector<std::uint32_t>& cpus);

}  // namespace weir::sys
