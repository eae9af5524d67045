// Whether the mitigation did what it is for: before and after, on live traffic. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "model/queues.h"

namespace weir::steer {

/// Every number of the judgement.
namespace verify_thresholds {
/// Packets needed in the measurement after the change: as many as the doctor wants of a window.
inline constexpr std::uint64_t kMinPackets = 500;
/// Part of the gap between the effective queues before and all queues that must be closed. Flows that are few or uneven
/// keep hashing from closing all of it (8 flows on 4 queues: 63 %); noise alone closes hardly a tenth.
inline constexpr double kMinGapClosed = 0.25;
}  // namespace verify_thresholds

/// What a change of the queues came to.
struct Effect {
  double before = 0;  ///< effective queues
  double after = 0;
  std::uint32_t real = 0;
  std::uint64_t packets_after = 0;
  bool improved = false;
  std::string verdict;  ///< one sentence
};

/// Judges the transmit side of one device, seen before and after.
Effect judge_effect(const model::DeviceObservation& before, const model::DeviceObservation& after, std::uint32_t real);

}  // namespace weir::steer
