// Running the well-kept tools (ip, tc, bridge, sh) with a script on their standard input.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace weir::lab {

/// Runs a program found in PATH or the sbin directories, feeds it `input`, waits, and returns what it wrote to standard
/// output. It starts with default signals and in a process group of its own, so that a Ctrl-C meant for the lab does
/// not tear it apart. Errc::unsupported when the program is not installed; a non-zero exit gives the first line of its
/// standard error.
Result<std::string> run_tool(const std::vector<std::string>& command, const std::string& input = {});

}  // namespace weir::lab
