// The ladder of src/bpf in the words of the model, for commands that print or pass it on.
#pragma once

#include "base/result.h"
#include "bpf/ladder.h"
#include "model/capability.h"

namespace weir::cli {

/// Climbs the ladder; errors as bpf::climb().
Result<model::Capabilities> find_capabilities(const bpf::LadderOptions& options = {});

}  // namespace weir::cli
