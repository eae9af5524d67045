// Cases for `explain` whose truth is known: a made-up system is simulated by its true structural model, one entity of
// it fails, and something that depends on it shows the symptom. The same seed makes the same case on every machine.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "weir/explain.h"

namespace weir::test {

enum class Family : std::uint8_t {
  dag,            ///< linear, Gaussian, acyclic
  cycles,         ///< dependencies go round, with gains below 1
  two_faults,     ///< two entities fail at once
  missing_edges,  ///< a part of the true edges is not given
  confounders,    ///< a hidden driver moves many metrics, more so in the incident
  nonlinear,      ///< effects saturate, or come only beyond a threshold
  heavy_tails,    ///< noise by Student's t with three degrees of freedom
  seasonal,       ///< load follows the day
  onset_off,      ///< the given onset is wrong by up to five rows
  services,       ///< calls with requests, latency and availability, which add up
};
inline constexpr std::array all_families{
    Family::dag,       Family::cycles,      Family::two_faults, Family::missing_edges, Family::confounders,
    Family::nonlinear, Family::heavy_tails, Family::seasonal,   Family::onset_off,     Family::services};
std::string_view to_string(Family family);

struct SyntheticIncident {
  explain::Graph graph;  ///< as it is given to an engine
  explain::Table healthy;
  explain::Table window;  ///< ten rows before the onset, then 10 to 40 of the incident
  explain::Symptom symptom;
  std::vector<std::string> roots;  ///< what failed
  std::size_t onset_row = 0;       ///< in the window, truly
};
SyntheticIncident make_incident(Family family, std::uint64_t seed);

/// The window of the same case with the same noise, had these entities not failed.
explain::Table window_without(Family family, std::uint64_t seed, const std::vector<std::string>& entities);

}  // namespace weir::test
