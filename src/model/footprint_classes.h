// The class of a footprint: one table of thresholds, and what keeps a class from changing to and fro.
#pragma once

#include <array>
#include <chrono>
#include <optional>

#include "model/footprint.h"

namespace weir::model {

/// How well each class fits, in [0, 1], by FootprintClass.
using FootprintScores = std::array<double, kFootprintClasses>;

FootprintScores footprint_scores(const FootprintFeatures& features);

/// The class that fits best. `opposite`: the verdict of the workload's other direction; a direction that only
/// acknowledges what the other one carries, or whose packets each answer one of its small ones, has its class.
FootprintVerdict classify(const FootprintFeatures& features, const FootprintVerdict* opposite = nullptr);

/// Holds on to a class until another has fitted better for kHold of watched time.
class SteadyVerdict {
 public:
  static constexpr std::chrono::seconds kHold{5};
  /// `now`: watched time; each call later than the one before.
  void feed(const FootprintVerdict& fresh, std::chrono::nanoseconds now);
  /// The class that is held, with the confidence and reason of when it last fitted best.
  [[nodiscard]] const FootprintVerdict& held() const { return held_; }

 private:
  FootprintVerdict held_;
  bool any_ = false;
  FootprintClass rival_ = FootprintClass::idle;
  std::optional<std::chrono::nanoseconds> rival_since_;
};

}  // namespace weir::model
