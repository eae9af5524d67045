// Findings as text for a person at a terminal.
#pragma once

#include <string>
#include <vector>

#include "model/finding.h"
#include "model/queues.h"

namespace weir::cli {

/// The verdict in the first line, then each finding in at most 25 lines: cause, kernel decision, culprits, evidence,
/// what mends it. For a healthy host one line with what was looked at. Lines are at most 100 columns wide where words
/// allow; `colour` adds ANSI colours. Ends with a newline.
std::string render_findings(const model::HostObservation& observation, const std::vector<model::Finding>& findings,
                            bool colour);

}  // namespace weir::cli
