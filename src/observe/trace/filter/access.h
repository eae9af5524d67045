// Finding out how filters can read packets on this kernel.
#pragma once

#include "observe/trace/filter/translate.h"

namespace weir::observe {

/// The quickest access that the running kernel's verifier takes, found by loading a program of four instructions. Falls
/// back on copying, which every kernel can do, without saying why: also for a user who may not load programs at all.
PacketAccess best_packet_access();

}  // namespace weir::observe
