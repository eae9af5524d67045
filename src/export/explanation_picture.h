// The graph of an explanation as pictures: Graphviz DOT and SVG that stands on its own.
#pragma once

#include <string>

#include "weir/explain.h"

namespace weir::exporter {

std::string explanation_dot(const explain::Explanation& explanation);

/// Columns by distance from the symptom, which stands left; edges as wide as what passes along them, dashed where the
/// graph does not have them; entities redder the more blame stays there. Nothing is loaded from anywhere.
std::string explanation_svg(const explain::Explanation& explanation);

}  // namespace weir::exporter
