// What a benchmark ends with when it cannot measure: the exit codes of every command.
#pragma once

#include "base/result.h"

namespace weir::bench {

inline int exit_code(const Error& error) {
  switch (error.code) {
    case Errc::usage:
      return 2;
    case Errc::unsupported:
    case Errc::permission:
      return 3;
    default:
      return 1;
  }
}

}  // namespace weir::bench
