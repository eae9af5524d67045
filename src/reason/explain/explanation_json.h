// Explanations as JSON (weir.explanation/1, weir.explained_case/1).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "reason/explain/petshop.h"
#include "weir/explain.h"

namespace weir::explain {

nlohmann::ordered_json to_json(const Explanation& explanation);
nlohmann::ordered_json to_json(const ExplainedCase& explained);

/// Seconds since 1970 as "2026-11-22T10:30:00Z"; times that are too small to be such ones as a plain number.
std::string time_text(double time_s);

}  // namespace weir::explain
