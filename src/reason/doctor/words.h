// Lists in words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/finding.h"

namespace weir::reason::words {

/// "0-3,8": ascending numbers as the kernel writes CPU lists.
std::string list_of(const std::vector<std::uint32_t>& numbers);

/// "a/tap0", "a/tap0 and a/tap1", "a/tap0 and 2 other devices".
std::string devices_of(const std::vector<model::Culprit>& culprits);

}  // namespace weir::reason::words
