// A workload in the model's words.
#pragma once

#include "model/namespaces.h"
#include "netns/workload.h"

namespace weir::observe {

inline model::WorkloadRef workload_ref(const netns::Workload& workload) {
  return {netns::to_string(workload.kind), workload.name, workload.id, workload.pod, workload.runtime};
}

}  // namespace weir::observe
