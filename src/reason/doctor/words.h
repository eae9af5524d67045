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

/// To four decimals: what is measured here is not known more exactly, and reads better.
double rounded(double value);

/// The command as it must be typed to run in the device's namespace, between backticks.
std::string command_in(const model::NetnsRef& netns, const std::string& command);

/// A mask of the first `count` CPUs as sysfs takes it: 32-bit groups, highest first.
std::string mask_of_first(std::uint32_t count);

}  // namespace weir::reason::words
