// The elephants' policy applied to one flow, packet by packet: what the data plane's programs do in the kernel
// (observe/flows/bpf/flow_elephant.h), for packets that come from elsewhere.
#pragma once

#include <chrono>
#include <cstdint>

#include "model/flow.h"

namespace weir::model {

/// A leaky bucket of the policy's rate tells since when a flow keeps that rate up; it holds half of the span that must
/// be sustained, so that one burst does not count for long.
class ElephantJudge {
 public:
  /// A packet of the flow. Times must not decrease. True while the flow is an elephant.
  bool take(const ElephantPolicy& policy, std::chrono::nanoseconds time, std::uint64_t bytes);
  [[nodiscard]] bool elephant() const { return elephant_; }

 private:
  std::uint64_t bytes_ = 0;
  double credit_ = 0;
  std::chrono::nanoseconds last_{};
  std::chrono::nanoseconds above_since_{};
  std::chrono::nanoseconds judged_{};
  std::uint64_t judged_bytes_ = 0;
  bool elephant_ = false;
};

}  // namespace weir::model
