// Golden tests: output compared with a file under tests/golden/expected, rewritten by tests/golden/approve.sh.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace weir::test {

/// `text` must be what tests/golden/expected/NAME holds. With WEIR_APPROVE=1 in the environment the file is written.
inline void expect_golden(const std::string& name, const std::string& text) {
  const std::filesystem::path path = std::filesystem::path(WEIR_SOURCE_DIR) / "tests/golden/expected" / name;
  if (const char* approve = std::getenv("WEIR_APPROVE"); approve != nullptr && std::string(approve) == "1") {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return;
  }
  std::ifstream file(path);
  ASSERT_TRUE(file) << path << " is missing; tests/golden/approve.sh writes it";
  std::ostringstream expected;
  expected << file.rdbuf();
  EXPECT_EQ(text, expected.str()) << name << ": if this is meant, run tests/golden/approve.sh and look at the diff";
}

}  // namespace weir::test
