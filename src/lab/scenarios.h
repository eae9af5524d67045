// The table of scenarios. To add one: a row here and its builder function.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "lab/blueprint.h"

namespace weir::lab {

struct Scenario {
  std::string_view name;
  std::string_view topology;  ///< what is built, in short
  std::string_view truth;     ///< the correct diagnosis, in one sentence
  Result<Blueprint> (*draw)(const Options&);
  /// Made for following single packets: little traffic, and nothing varies but the family, the rate and names.
  bool journeys = false;
};

/// Every scenario, in the order in which `weir lab list` shows them.
std::span<const Scenario> scenarios();

/// Checks the options and draws the scenario; Errc::usage for an unknown name (with the nearest ones), a bad value or
/// an option that this scenario has no use for.
Result<Blueprint> draw(std::string_view scenario, const Options& options);

/// CPUs as the kernel's hexadecimal mask: 32-bit groups, highest first ("00000001,00000000").
std::string cpu_mask(const std::vector<unsigned>& cpus);

}  // namespace weir::lab
