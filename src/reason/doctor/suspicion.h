// Which devices deserve a closer look while they are being watched.
#pragma once

#include "model/queues.h"

namespace weir::reason {

/// Whether the spread of one window is uneven enough, and the window full enough, that following the packets' path may
/// explain something. Wider than any verdict: a device that is missed here has its cause named without the place of the
/// change.
bool worth_following(const model::DeviceConfig& device, const model::QueueWindow& window);

}  // namespace weir::reason
