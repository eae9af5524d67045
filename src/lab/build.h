// Makes a blueprint real, and unmakes it.
#pragma once

#include "lab/blueprint.h"

namespace weir::lab {

/// Builds everything but the namespaces themselves, which exist already, and no traffic. What it made when it fails
/// goes away with the namespaces.
Result<void> build(const Blueprint& blueprint);

}  // namespace weir::lab
