// Explanations for a person.
#pragma once

#include <string>
#include <vector>

#include "reason/explain/petshop.h"
#include "weir/explain.h"

namespace weir::cli {

std::string render_explanation(const explain::Explanation& explanation, bool color);

/// Recall, silence and time by scenario and engine.
std::string render_data_set(const std::vector<explain::ExplainedCase>& cases);

}  // namespace weir::cli
