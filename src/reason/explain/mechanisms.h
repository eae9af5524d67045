// What can drive what: the words for an edge of an explanation, and whether such a thing happens at all.
#pragma once

#include <string_view>

#include "weir/explain.h"

namespace weir::explain {

/// How a change of `cause` at an entity can become one of `effect` at another that depends on it: "waits for a slower
/// dependency", … Empty when nothing is known by which it could.
std::string_view mechanism_between(Quantity cause, Quantity effect);

}  // namespace weir::explain
