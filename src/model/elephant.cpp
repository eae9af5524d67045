#include "model/elephant.h"

#include <algorithm>

namespace weir::model {

namespace {

double bytes_at_rate(const ElephantPolicy& policy, std::chrono::nanoseconds span) {
  return policy.rate_bps / 8.0 * std::chrono::duration<double>(span).count();
}

}  // namespace

bool ElephantJudge::take(const ElephantPolicy& policy, std::chrono::nanoseconds time, std::uint64_t bytes) {
  const bool first = bytes_ == 0;
  bytes_ += bytes;
  const double drained = first ? 0 : bytes_at_rate(policy, time - last_);
  last_ = time;
  if (elephant_) {
    const auto span = time - judged_;
    if (span < policy.demote_after) return true;
    const auto moved = static_cast<double>(bytes_ - judged_bytes_);
    judged_ = time;
    judged_bytes_ = bytes_;
    elephant_ = moved >= bytes_at_rate(policy, span) / 2;
    credit_ = 0;
    return elephant_;
  }
  if (credit_ <= drained) {
    credit_ = 0;
    above_since_ = time;
  } else {
    credit_ -= drained;
  }
  const double most = bytes_at_rate(policy, policy.sustained / 2) + static_cast<double>(bytes);
  credit_ = std::min(credit_ + static_cast<double>(bytes), most);
  if (bytes_ < policy.bytes || time - above_since_ < policy.sustained) return false;
  elephant_ = true;
  judged_ = time;
  judged_bytes_ = bytes_;
  return true;
}

}  // namespace weir::model
