// Real data for tests, which lies beside the project and is no part of it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace weir::test {

/// The folder shared/data/NAME beside the project or beside a folder that holds it; nothing when it is not there, which
/// a test must say (GTEST_SKIP).
inline std::optional<std::filesystem::path> shared_data(const std::string& name) {
  for (std::filesystem::path folder = WEIR_SOURCE_DIR; folder != folder.root_path(); folder = folder.parent_path()) {
    const auto path = folder.parent_path() / "shared" / "data" / name;
    if (std::filesystem::exists(path)) return path;
  }
  return std::nullopt;
}

}  // namespace weir::test
