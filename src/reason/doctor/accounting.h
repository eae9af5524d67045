// Whether the ledger of flows holds, and what to do when it does not. Pure: a window in, findings out.
#pragma once

#include <vector>

#include "model/finding.h"
#include "model/flow.h"

namespace weir::reason {

/// "accounting-gap": flows that found no room in the table, and devices whose interface counted more than was seen, by
/// more than reading at different moments explains. Empty: every byte has its flow.
std::vector<model::Finding> find_accounting_gaps(const model::FlowWindow& window);

}  // namespace weir::reason
