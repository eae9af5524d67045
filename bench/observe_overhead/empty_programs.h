// Programs at the data plane's hooks that do nothing: the floor under every figure.
#pragma once

#include "base/result.h"
#include "bpf/skeleton.h"
#include "clock_floor.skel.h"

namespace weir::bench {

using EmptyPrograms = bpf::Skeleton<clock_floor>;

/// Loaded and attached.
inline Result<EmptyPrograms> attach_empty_programs() {
  auto skeleton = EmptyPrograms::open();
  if (!skeleton) return pass(std::move(skeleton), "empty programs");
  if (auto loaded = skeleton->load(); !loaded) return pass(std::move(loaded), "empty programs");
  if (auto attached = skeleton->attach(); !attached) return pass(std::move(attached), "empty programs");
  return skeleton;
}

}  // namespace weir::bench
