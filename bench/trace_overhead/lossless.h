// How many packets a second a tool records without losing one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "network.h"
#include "tools.h"

namespace weir::bench {

/// Highest rates of one tool, one value a search; `absent` says why there are none.
struct Lossless {
  std::string name;
  std::string absent;
  std::vector<double> packets_per_second;
};

struct LosslessPlan {
  int searches = 3;
  double seconds = 1;  ///< of traffic at each rate
  int cpu = 0;         ///< that sends and forwards
};

/// Searches for each tool in turn, as often as planned. The rate that the machine itself can do is the first row.
Result<std::vector<Lossless>> find_lossless(const ForwardNetwork& network, const std::vector<Tool>& tools,
                                            const LosslessPlan& plan, const std::function<bool()>& stopped);

}  // namespace weir::bench
