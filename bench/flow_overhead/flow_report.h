// The figures of bench/flow_overhead for a person and for a program.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agent.h"
#include "echo.h"
#include "rounds.h"

namespace weir::bench {

struct FlowReport {
  std::string kernel;
  std::string processor;
  Plan plan;
  std::vector<Series> forwarding;
  std::map<std::string, double> hooks;  ///< by variant: how often a packet should be counted
  std::uint64_t requests = 0;           ///< a round
  std::vector<EchoSeries> echo;
  AgentMemory memory;
  std::vector<std::pair<std::size_t, std::uint64_t>> planned_bytes;  ///< by number of CPUs
  std::vector<double> promotion_us;
};

std::string to_text(const FlowReport& report);
/// "weir.flow_overhead/1".
std::string to_json(const FlowReport& report);

}  // namespace weir::bench
