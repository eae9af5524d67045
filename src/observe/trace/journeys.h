// Puts the records of one packet together, in the order in which it passed the hooks.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "model/trace.h"
#include "observe/trace/decode.h"

namespace weir::observe {

/// The records of one journey, not yet decoded: most are thrown away again when only some journeys are asked for.
struct RawJourney {
  std::uint64_t id = 0;
  std::uint64_t first_ns = 0;
  std::uint64_t last_ns = 0;
  std::uint32_t started = 0;  ///< the packet itself, its fragments and segments
  std::uint32_t ended = 0;
  bool waiting = false;  ///< for a neighbour, as far as is known
  std::vector<std::byte> bytes;
  std::vector<std::uint32_t> ends;  ///< where in `bytes` each record ends
};

/// When journeys are taken as ended, by the clock of the records.
struct JourneyLimits {
  std::chrono::nanoseconds linger = std::chrono::milliseconds(100);  ///< after the last end: a fragment may follow
  std::chrono::nanoseconds idle = std::chrono::seconds(3);           ///< without an end: freed where no hook looks
  std::chrono::nanoseconds waiting = std::chrono::seconds(10);       ///< for a neighbour: three probes, a second apart
  std::size_t open = 200'000;                                        ///< the oldest ones are given out beyond this
};

class JourneyBuilder {
 public:
  explicit JourneyBuilder(JourneyLimits limits = {}) : limits_(limits) {}

  /// Takes one record in; a broken one is an error and leaves everything as it was.
  Result<void> add(std::span<const std::byte> record);
  /// The journeys that are over at `now_ns` (CLOCK_MONOTONIC), by their beginning.
  std::vector<RawJourney> take_finished(std::uint64_t now_ns);
  /// All that are left.
  std::vector<RawJourney> take_all();
  [[nodiscard]] std::size_t open() const { return open_.size(); }

 private:
  JourneyLimits limits_;
  std::unordered_map<std::uint64_t, RawJourney> open_;
  std::vector<RawJourney> alone_;  ///< events that are of no packet
  std::uint64_t looked_ns_ = 0;
};

/// Decodes and judges: order, gaps, beginning and end.
Result<model::Journey> build_journey(const RawJourney& raw, const TraceNames& names);

}  // namespace weir::observe
