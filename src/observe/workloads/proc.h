// Inside workloads only: files and links of /proc, which may vanish at any moment.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "sys/fd.h"

namespace weir::observe::proc {

/// The whole of a file from its beginning; nullopt when it cannot be read.
std::optional<std::string> text(const sys::Fd& fd);
std::optional<std::string> text(const std::string& path);

/// Where a symbolic link points to; empty when there is none.
std::string link(const std::string& path);

/// The numbers that stand as names in a directory; none when it cannot be listed.
std::vector<int> numbers(const std::string& path);

}  // namespace weir::observe::proc
