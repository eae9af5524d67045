// A recording on a disk that fills up: a small tmpfs in a mount namespace that dies with its thread.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <random>

#include "observe/trace/record/reader.h"
#include "observe/trace/record/writer.h"
#include "sys/scratch_thread.h"

namespace weir::observe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// Runs `body` with a tmpfs of 256 KiB at a folder that only it sees.
void on_small_disk(const std::function<void(const fs::path&)>& body) {
  std::string pattern = (fs::temp_directory_path() / "weir-full-XXXXXX").string();
  const fs::path folder = ::mkdtemp(pattern.data());
  const auto ok = sys::on_scratch_thread([&]() -> Result<void> {
    if (::unshare(CLONE_NEWNS) != 0) return fail_errno(errno, "unshare");
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return fail_errno(errno, "private mounts");
    if (::mount("weir-full", folder.c_str(), "tmpfs", 0, "size=256k") != 0) return fail_errno(errno, "tmpfs");
    body(folder);
    return {};
  });
  EXPECT_TRUE(ok) << ok.error().message;
  fs::remove(folder);
}

/// Appends records of noise, which does not compress, until it fails; gives the error.
Error fill(RecordingWriter& out) {
  std::mt19937_64 random(1);
  std::vector<std::byte> content(1000);
  for (int i = 0; i < 10'000; ++i) {
    for (std::byte& byte : content) byte = static_cast<std::byte>(random());
    if (auto ok = out.append(1, content); !ok) return ok.error();
  }
  return {.message = "never full", .hint = {}};
}

std::uint64_t count_records(const std::string& path) {
  auto reader = RecordingReader::open(path);
  EXPECT_TRUE(reader) << reader.error().message;
  std::uint64_t count = 0;
  for (auto next = reader->next(); next && *next; next = reader->next()) ++count;
  EXPECT_EQ(reader->where_it_broke(), "");
  return count;
}

TEST(RecordingOnAFullDisk, EndsWithWholeBlocksAndSaysHowMany) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small disk";
  on_small_disk([](const fs::path& folder) {
    const std::string path = folder / "FILE.weir";
    auto out = RecordingWriter::create(path, {.block_bytes = 20'000});
    ASSERT_TRUE(out) << out.error().message;
    const Error error = fill(*out);
    EXPECT_EQ(error.sys_errno, ENOSPC);
    const RecordingProgress progress = out->progress();
    EXPECT_GT(progress.records, 100U);
    EXPECT_THAT(error.message,
                HasSubstr("No space left on device; the recording ends after " + std::to_string(progress.records)));
    // It stays so, and asking again says the same.
    const auto again = out->close();
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().message, error.message);
    EXPECT_EQ(count_records(path), progress.records);
    EXPECT_EQ(fs::file_size(path), progress.file_bytes);
  });
}

TEST(RecordingOnAFullDisk, RotationKeepsAllFilesReadable) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small disk";
  on_small_disk([](const fs::path& folder) {
    const std::string path = folder / "FILE.weir";
    auto out = RecordingWriter::create(path, {.rotate_bytes = 60'000, .block_bytes = 20'000});
    ASSERT_TRUE(out) << out.error().message;
    EXPECT_EQ(fill(*out).sys_errno, ENOSPC);
    const auto files = recording_files(path);
    ASSERT_TRUE(files) << files.error().message;
    EXPECT_GT(files->size(), 2U);
    std::uint64_t records = 0;
    for (const std::string& file : *files) records += count_records(file);
    EXPECT_EQ(records, out->progress().records);
  });
}

TEST(RecordingOnAFullDisk, RotationWithALimitNeverFillsIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small disk";
  on_small_disk([](const fs::path& folder) {
    auto out =
        RecordingWriter::create(folder / "FILE.weir", {.rotate_bytes = 60'000, .max_files = 3, .block_bytes = 20'000});
    ASSERT_TRUE(out) << out.error().message;
    EXPECT_EQ(fill(*out).message, "never full");
  });
}

}  // namespace
}  // namespace weir::observe
