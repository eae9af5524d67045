#include "reason/doctor/suspicion.h"

#include "reason/doctor/thresholds.h"

namespace weir::reason {

bool worth_following(const model::DeviceConfig& device, const model::QueueWindow& window) {
  if (device.real_tx_queues < 2 || device.loopback) return false;
  const double seconds = std::chrono::duration<double>(window.duration).count();
  const auto packets = static_cast<double>(window.tx_packets());
  if (seconds <= 0 || packets < thresholds::kMinRatePps * seconds) return false;
  const double ratio = model::effective_queues(window.tx) / static_cast<double>(device.real_tx_queues);
  return ratio < thresholds::kFollowRatio;
}

}  // namespace weir::reason
