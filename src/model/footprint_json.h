// weir.footprint/1.
#pragma once

#include <string>

#include "model/footprint.h"

namespace weir::model {

/// One line: a workload and direction, with its class and the vector of each horizon.
std::string footprint_line(const WorkloadFootprint& footprint);

}  // namespace weir::model
