// Journeys taken apart into stretches. Pure.
#pragma once

#include <map>
#include <tuple>
#include <vector>

#include "model/latency.h"
#include "model/trace.h"

namespace weir::observe {

/// Sums up how long packets took, by stretch and device. Stretches overlap: forwarding holds routing and netfilter,
/// total holds all. Hooks that were not attached leave their stretches out; clones are not looked at, segments and
/// fragments each count.
class StretchLatency {
 public:
  void add(const model::Journey& journey);
  /// By stretch, the slowest device (p99) first.
  [[nodiscard]] std::vector<model::StretchTimes> times() const;

 private:
  class Walk;
  using Key = std::tuple<model::Stretch, std::string, model::DeviceRef>;
  void count(model::Stretch stretch, std::string_view hook, const model::DeviceRef& device, std::uint64_t ns);
  std::map<Key, DurationHistogram> times_;
};

}  // namespace weir::observe
