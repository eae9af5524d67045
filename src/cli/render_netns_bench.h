// What `weir netns bench` measured, for a person and for a program.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "netns/bench/run.h"

namespace weir::cli {

/// Tables, one a part that was measured. `verdict`: of the gate, when there was a baseline.
std::string render_netns_bench(const netns::bench::Report& report,
                               const std::optional<netns::bench::Verdict>& verdict = {});

/// weir.netns_bench/1. Parts that were not measured are null, or empty where they are lists.
nlohmann::ordered_json netns_bench_json(const netns::bench::Report& report,
                                        const std::optional<netns::bench::Verdict>& verdict = {});

}  // namespace weir::cli
