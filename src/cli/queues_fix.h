// weir queues fix|undo: the mitigation of recorded receive queues, planned, applied, verified and taken back.
#pragma once

#include "cli/command.h"

namespace weir::cli {

/// Adds `fix` to the `queues` command.
void add_queues_fix(CLI::App& queues, Program& program);

/// Adds `undo` to the `queues` command.
void add_queues_undo(CLI::App& queues, Program& program);

}  // namespace weir::cli
