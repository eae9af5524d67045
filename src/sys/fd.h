// Fd under the name that modules use; it is part of the public library.
#pragma once

#include "weir/fd.h"

namespace weir::sys {
using weir::Fd;
}  // namespace weir::sys
