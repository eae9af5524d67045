// main() of every test program: exit 77 when everything that was selected was skipped, so that ctest counts a skip.
#include <gtest/gtest.h>

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const int code = RUN_ALL_TESTS();
  const auto& unit = *::testing::UnitTest::GetInstance();
  const bool all_skipped = unit.skipped_test_count() > 0 && unit.skipped_test_count() == unit.test_to_run_count();
  return code == 0 && all_skipped ? 77 : code;
}
