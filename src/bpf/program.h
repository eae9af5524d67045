// What the kernel says about a loaded program: how an installed one is recognised later.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace weir::bpf {

struct ProgramInfo {
  std::uint32_t id = 0;  ///< unique while the program lives; the kernel hands ids out in a cycle
  std::string name;      ///< at most 15 characters
  std::string tag;       ///< hash of the instructions, 16 hex digits
};

Result<ProgramInfo> program_info(int program_fd);

/// Nothing when no program has this id (any more).
Result<std::optional<ProgramInfo>> find_program(std::uint32_t id);

}  // namespace weir::bpf
