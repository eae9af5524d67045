// Result<T> and Error, which are part of the public library.
#pragma once

#include "weir/result.h"
