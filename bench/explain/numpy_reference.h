// The same case given to a program in Python, see murphy_numpy.py.
#pragma once

#include <cstdint>
#include <vector>

#include "reason/explain/engines.h"

struct NumpyRun {
  double seconds = 0;  ///< of ranking, reading not counted
  std::vector<std::uint32_t> ranking;
};
/// Errc::unsupported when there is no /usr/bin/python3 with numpy.
weir::Result<NumpyRun> run_numpy_murphy(const weir::explain::Case& incident,
                                        const weir::explain::MurphySettings& settings);
