// Object files that are none: placing a filter refuses them and reads nothing outside.
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "observe/trace/filter/place.h"
#include "support/object_file.h"

namespace weir::observe {
namespace {

using ::testing::HasSubstr;

constexpr bpf_insn kBody[] = {{.code = 0xb7, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 7},
                              {.code = 0x95, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};

TEST(TraceFilterPlace, ReplacesTheFunctionAndMakesItShorter) {
  auto file = test::object_file();
  const auto before = file.bytes;
  ASSERT_TRUE(place_filter(file.bytes, "filter", kBody));
  EXPECT_EQ(std::memcmp(file.bytes.data() + file.code_at + test::kFunctionOffset, kBody, sizeof kBody), 0);
  Elf64_Sym symbol{};
  std::memcpy(&symbol, file.bytes.data() + file.symbol_at, sizeof symbol);
  EXPECT_EQ(symbol.st_size, sizeof kBody);
  // And nothing else.
  std::size_t changed = 0;
  for (std::size_t i = 0; i < before.size(); ++i) changed += before[i] != file.bytes[i] ? 1 : 0;
  EXPECT_LE(changed, sizeof kBody + sizeof symbol.st_size);
}

TEST(TraceFilterPlace, SaysWhatIsMissing) {
  auto file = test::object_file();
  EXPECT_THAT(place_filter(file.bytes, "filte", kBody).error().message, HasSubstr("filte"));
  EXPECT_THAT(place_filter(file.bytes, "filter2", kBody).error().message, HasSubstr("filter2"));
  EXPECT_THAT(place_filter(file.bytes, "filter", {}).error().message, HasSubstr("without instructions"));
  const std::vector<bpf_insn> longer(test::kFunctionInstructions + 1);
  EXPECT_EQ(place_filter(file.bytes, "filter", longer).error().code, Errc::usage);
  EXPECT_THAT(place_filter({}, "filter", kBody).error().message, HasSubstr("no BPF object"));
  file.bytes[EI_CLASS] = std::byte{ELFCLASS32};
  EXPECT_THAT(place_filter(file.bytes, "filter", kBody).error().message, HasSubstr("no BPF object"));
}

TEST(TraceFilterPlace, RefusesAFunctionThatIsRelocated) {
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{8}}) {
    auto file = test::object_file(test::kFunctionOffset + at);
    EXPECT_THAT(place_filter(file.bytes, "filter", kBody).error().message, HasSubstr("relocates"));
  }
  auto before = test::object_file(0);
  EXPECT_TRUE(place_filter(before.bytes, "filter", kBody));
}

TEST(TraceFilterPlace, AnyTruncationOrGarbledByteIsSurvived) {
  const auto whole = test::object_file();
  for (std::size_t size = 0; size < whole.bytes.size(); ++size) {
    std::vector<std::byte> cut(whole.bytes.begin(), whole.bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(place_filter(cut, "filter", kBody)) << size;
  }
  for (std::size_t at = 0; at < whole.bytes.size(); ++at) {
    for (const int value : {0, 1, 0x7f, 0x80, 0xff}) {
      auto garbled = whole.bytes;
      garbled[at] = static_cast<std::byte>(value);
      static_cast<void>(place_filter(garbled, "filter", kBody));
      EXPECT_EQ(garbled.size(), whole.bytes.size());
    }
  }
}

}  // namespace
}  // namespace weir::observe
