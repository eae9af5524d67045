// Programs that do nothing at the default hooks of `weir trace`: the floor under what a trace there can cost.
#pragma once

#include <algorithm>
#include <vector>

#include "base/result.h"
#include "bpf/skeleton.h"
#include "empty_hooks.skel.h"
#include "observe/trace/hooks.h"

namespace weir::bench {

using EmptyHooks = bpf::Skeleton<empty_hooks>;

/// Loaded and attached at those of the tracepoints that the kernel has.
inline Result<EmptyHooks> attach_empty_hooks(const std::vector<std::uint16_t>& tracepoints) {
  auto skeleton = EmptyHooks::open();
  if (!skeleton) return pass(std::move(skeleton), "empty programs");
  for (const observe::Tracepoint& one : observe::tracepoints()) {
    bpf_program* program =
        bpf_object__find_program_by_name(skeleton->get().obj, fmt::format("empty_{}", one.program).c_str());
    bpf_program__set_autoload(program, std::ranges::find(tracepoints, one.number) != tracepoints.end());
  }
  if (auto loaded = skeleton->load(); !loaded) return pass(std::move(loaded), "empty programs");
  if (auto attached = skeleton->attach(); !attached) return pass(std::move(attached), "empty programs");
  return skeleton;
}

}  // namespace weir::bench
