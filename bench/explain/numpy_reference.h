// The same case given to a program in Python, see murphy_numpy.py.
#pragma once

#include <cstdint>
#include <vector>

#include "reason/explain/engines.h"

namespace weir::explain {

struct NumpyRun {
  double seconds = 0;  ///< of ranking, reading not counted
  std::vector<std::uint32_t> ranking;
};
/// Errc::unsupported when there is no /usr/bin/python3 with numpy.
Result<NumpyRun> run_numpy_murphy(const Case& incident, const MurphySettings& settings);

}  // namespace weir::explain
