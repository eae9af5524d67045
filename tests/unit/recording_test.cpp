// Recordings: what is written comes back, and what a crash, a full disk or a bad one leaves is read as far as it goes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <random>

#include "observe/trace/record/layout.h"
#include "observe/trace/record/reader.h"
#include "observe/trace/record/writer.h"
#include "sys/poll_until.h"

namespace weir::observe {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Bytes = std::vector<std::byte>;

constexpr std::uint16_t kType = 7;

Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// The content of record `number` in these tests: some size, not all alike.
Bytes content(std::uint64_t number) {
  std::mt19937_64 random(number);
  Bytes bytes(8 + random() % 100);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() % 8);
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

struct Contents {
  std::vector<std::pair<std::uint16_t, Bytes>> records;
  std::uint64_t repeated = 0;
  bool truncated = false;
  std::uint64_t lost = 0;
  std::uint64_t damages = 0;
  std::string broke;
};

Contents read(Result<RecordingReader> reader) {
  Contents all;
  EXPECT_TRUE(reader) << reader.error().message;
  if (!reader) return all;
  for (;;) {
    const auto record = reader->next();
    EXPECT_TRUE(record) << record.error().message;
    if (!record || !*record) break;
    all.records.emplace_back((*record)->type, Bytes((*record)->bytes.begin(), (*record)->bytes.end()));
    if ((*record)->repeated) ++all.repeated;
  }
  all.truncated = reader->truncated();
  all.lost = reader->lost_records();
  all.damages = reader->damage_count();
  all.broke = reader->where_it_broke();
  return all;
}

Contents read(const Bytes& file) {
  return read(RecordingReader::from_memory(file, "memory"));
}

class Recording : public ::testing::Test {
 protected:
  Recording() {
    std::string pattern = (fs::temp_directory_path() / "weir-recording-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ / "FILE.weir";
  }
  ~Recording() override { fs::remove_all(folder_); }

  RecordingWriter writer(const RecordingOptions& options = {}) const {
    auto made = RecordingWriter::create(path_, options);
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }
  static Bytes file(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    return bytes_of(text);
  }
  /// A file of `blocks` blocks of `each` records.
  Bytes small_file(std::uint64_t blocks, std::uint64_t each) {
    RecordingWriter out = writer({.overwrite = true});
    for (std::uint64_t number = 0; number < blocks * each; ++number) {
      EXPECT_TRUE(out.append(kType, content(number)));
      if ((number + 1) % each != 0) continue;
      last_block_ = out.progress().file_bytes;
      EXPECT_TRUE(out.flush());
    }
    EXPECT_TRUE(out.close());
    return file(path_);
  }

  fs::path folder_;
  fs::path path_;
  std::uint64_t last_block_ = 0;  ///< of a small_file()
};

/// Whether the records are content(n) for ascending n, whatever is missing; how many.
std::size_t sound_records(const Contents& contents) {
  std::uint64_t least = 0;
  for (const auto& [type, bytes] : contents.records) {
    std::uint64_t number = 0;
    if (bytes.size() < sizeof number) return 0;
    std::memcpy(&number, bytes.data(), sizeof number);
    EXPECT_GE(number, least);
    EXPECT_EQ(bytes, content(number));
    EXPECT_EQ(type, kType);
    least = number + 1;
  }
  return contents.records.size();
}

TEST_F(Recording, ComesBackAsItWas) {
  constexpr std::uint64_t kRecords = 50'000;
  RecordingWriter out = writer();
  ASSERT_TRUE(out.append(1, {}));
  for (std::uint64_t number = 0; number < kRecords; ++number) ASSERT_TRUE(out.append(kType, content(number)));
  const Bytes large(record::kMostRecordBytes, std::byte{5});
  ASSERT_TRUE(out.append(0xFFFF, large));
  ASSERT_TRUE(out.close());
  EXPECT_EQ(out.progress().records, kRecords + 2);
  EXPECT_EQ(out.progress().file_bytes, fs::file_size(path_));
  EXPECT_EQ(out.pending_records(), 0U);

  const Contents contents = read(RecordingReader::open(path_));
  ASSERT_EQ(contents.records.size(), kRecords + 2);
  EXPECT_EQ(contents.records.front(), (std::pair<std::uint16_t, Bytes>{1, {}}));
  EXPECT_EQ(contents.records.back().second, large);
  for (std::uint64_t number = 0; number < kRecords; ++number) {
    ASSERT_EQ(contents.records[number + 1].second, content(number));
  }
  EXPECT_FALSE(contents.truncated);
  EXPECT_THAT(contents.broke, IsEmpty());
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(Recording, RefusesWhatItCannotHold) {
  RecordingWriter out = writer();
  const auto too_large = out.append(1, Bytes(record::kMostRecordBytes + 1));
  ASSERT_FALSE(too_large);
  EXPECT_TRUE(out.append(1, bytes_of("still fine")));
  const auto exists = RecordingWriter::create(path_);
  ASSERT_FALSE(exists);
  EXPECT_EQ(exists.error().code, Errc::usage);
  EXPECT_THAT(exists.error().message, HasSubstr("exists"));
  const auto no_folder = RecordingWriter::create(folder_ / "no" / "such");
  ASSERT_FALSE(no_folder);
  EXPECT_EQ(no_folder.error().code, Errc::not_found);
}

TEST_F(Recording, IsReadableUpToItsLastWholeBlockWhereverItIsCut) {
  constexpr std::uint64_t kEach = 5;
  const Bytes whole = small_file(4, kEach);
  const Contents all = read(whole);
  ASSERT_EQ(sound_records(all), 4 * kEach);
  std::size_t before = 0;
  for (std::size_t size = 1; size < whole.size(); ++size) {
    const Contents contents = read(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
    const std::size_t sound = sound_records(contents);
    EXPECT_EQ(sound % kEach, 0U);
    EXPECT_GE(sound, before);
    EXPECT_EQ(contents.damages, 0U) << size;
    EXPECT_EQ(contents.lost, 0U) << size;
    // At the end of a block nothing is missing that a reader could know of.
    const bool between_blocks = sound > before || size == record::kFileHeaderBytes;
    EXPECT_EQ(contents.truncated, !between_blocks) << size;
    before = sound;
  }
}

TEST_F(Recording, LosesOneBlockToAFlippedBitAndSaysSo) {
  constexpr std::uint64_t kEach = 3;
  constexpr std::uint64_t kBlocks = 4;
  const Bytes whole = small_file(kBlocks, kEach);
  for (std::size_t at = record::kFileMagic.size(); at < whole.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      Bytes flipped = whole;
      flipped[at] ^= static_cast<std::byte>(1U << bit);
      const Contents contents = read(flipped);
      const std::size_t sound = sound_records(contents);
      const bool in_file_header = at < record::kFileHeaderBytes;
      // Some bits of a frame mean nothing; then every record is as it was.
      if (contents.damages == 0 && !in_file_header && sound == kBlocks * kEach) continue;
      EXPECT_EQ(contents.damages, 1U) << "byte " << at;
      EXPECT_EQ(sound, in_file_header ? kBlocks * kEach : (kBlocks - 1) * kEach) << "byte " << at;
      EXPECT_THAT(contents.broke, HasSubstr("damaged place"));
      // A block at the end whose header is damaged leaves no trace of how much it held.
      const bool in_last_header = at >= last_block_ && at < last_block_ + record::kBlockHeaderBytes;
      EXPECT_EQ(contents.lost, in_file_header || in_last_header ? 0 : kEach) << "byte " << at;
    }
  }
}

TEST_F(Recording, FindsTheNextBlockBehindGarbage) {
  const Bytes whole = small_file(3, 2);
  Bytes dirty(whole.begin(), whole.begin() + record::kFileHeaderBytes);
  // Longer than what is searched at once, with false starts in it.
  Bytes garbage(200'000, std::byte{0xB7});
  for (std::size_t i = 1000; i + 4 < garbage.size(); i += 1000) {
    std::memcpy(garbage.data() + i, record::kBlockMagic.data(), record::kBlockMagic.size());
  }
  dirty.insert(dirty.end(), garbage.begin(), garbage.end());
  dirty.insert(dirty.end(), whole.begin() + record::kFileHeaderBytes, whole.end());
  const Contents contents = read(dirty);
  EXPECT_EQ(sound_records(contents), 6U);
  EXPECT_EQ(contents.damages, 1U);
  EXPECT_EQ(contents.lost, 0U);
}

TEST_F(Recording, TakesNoMoreMemoryThanItsLimitsForAHostileFile) {
  Bytes file = small_file(1, 1);
  const auto header = record::decode_block(std::span(file).subspan(record::kFileHeaderBytes));
  ASSERT_TRUE(header);
  for (const auto& [raw, stored] : {std::pair{record::kMostRawBytes + 1, 8U},
                                    {8U, record::kMostStoredBytes + 1},
                                    {0xFFFFFFFFU, 0xFFFFFFFFU},
                                    {0U, 8U},
                                    {8U, 0U}}) {
    const auto bytes =
        record::encode(record::BlockHeader{.flags = 0, .raw_bytes = raw, .stored_bytes = stored, .records = 1});
    EXPECT_FALSE(record::decode_block(bytes));
  }
  // Sizes within the limits that the frame does not confirm.
  auto lying = *header;
  lying.raw_bytes = record::kMostRawBytes;
  std::ranges::copy(record::encode(lying), file.begin() + record::kFileHeaderBytes);
  const Contents contents = read(file);
  EXPECT_EQ(contents.records.size(), 0U);
  EXPECT_EQ(contents.damages, 1U);
  EXPECT_EQ(contents.lost, 1U);
}

TEST_F(Recording, TellsForeignFilesAndNewerVersions) {
  for (const char* text : {"", "#!/bin/sh\n", "\x0a\x0d\x0d\x0a pcapng"}) {
    std::ofstream(path_, std::ios::trunc) << text;
    const auto reader = RecordingReader::open(path_);
    ASSERT_FALSE(reader);
    EXPECT_EQ(reader.error().code, Errc::usage);
    EXPECT_THAT(reader.error().message, HasSubstr("no recording"));
  }
  const auto newer = record::encode(record::FileHeader{.version = record::kVersion + 1});
  const auto refused = RecordingReader::from_memory(newer, "new.weir");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("version 2"));
  EXPECT_EQ(RecordingReader::open(folder_ / "missing").error().code, Errc::not_found);
  EXPECT_EQ(RecordingReader::open(folder_).error().code, Errc::usage);
}

TEST_F(Recording, FlushesWhatIsOldEnough) {
  using std::chrono::milliseconds;
  RecordingWriter out = writer();
  ASSERT_TRUE(out.flush_if_due(milliseconds(0)));
  ASSERT_TRUE(out.append(kType, content(0)));
  ASSERT_TRUE(out.flush_if_due(milliseconds(100)));
  ASSERT_TRUE(out.flush_if_due(milliseconds(1099)));
  EXPECT_EQ(out.progress().records, 0U);
  ASSERT_TRUE(out.flush_if_due(milliseconds(1100)));
  EXPECT_EQ(out.progress().records, 1U);
  EXPECT_EQ(sound_records(read(RecordingReader::open(path_))), 1U);
}

TEST_F(Recording, RotatesIntoFilesThatStandAlone) {
  constexpr std::uint64_t kRecords = 3000;
  RecordingWriter out = writer({.rotate_bytes = 4096, .block_bytes = 2000});
  ASSERT_TRUE(out.set_preamble(1, bytes_of("hooks")));
  ASSERT_TRUE(out.set_preamble(2, bytes_of("pod"), 4));
  for (std::uint64_t number = 0; number < kRecords; ++number) {
    ASSERT_TRUE(out.append(kType, content(number)));
    if (number != kRecords / 2) continue;
    ASSERT_TRUE(out.set_preamble(2, bytes_of("pod renamed"), 4));
  }
  ASSERT_TRUE(out.close());
  const auto files = recording_files(path_);
  ASSERT_TRUE(files) << files.error().message;
  ASSERT_EQ(files->size(), out.progress().files);
  EXPECT_GT(files->size(), 3U);
  EXPECT_EQ(files->back(), path_);
  EXPECT_EQ(files->front(), path_.string() + "." + std::to_string(files->size() - 1));
  std::uint64_t next = 0;
  for (const std::string& name : *files) {
    EXPECT_LE(fs::file_size(name), 4096U);
    const Contents contents = read(RecordingReader::open(name));
    ASSERT_GE(contents.records.size(), 3U);
    EXPECT_EQ(contents.records[0].second, bytes_of("hooks"));
    EXPECT_EQ(contents.records[1].first, 2);
    EXPECT_EQ(contents.repeated, name == files->front() ? 0U : 2U);
    EXPECT_THAT(contents.broke, IsEmpty());
    for (const auto& [type, bytes] : contents.records) {
      if (type != kType) continue;
      EXPECT_EQ(bytes, content(next++));
    }
  }
  EXPECT_EQ(next, kRecords);
  EXPECT_EQ(read(RecordingReader::open(path_)).records[1].second, bytes_of("pod renamed"));
}

TEST_F(Recording, KeepsAsManyFilesAsAskedFor) {
  RecordingWriter out = writer({.rotate_bytes = 3000, .max_files = 3, .block_bytes = 1000});
  for (std::uint64_t number = 0; number < 2000; ++number) ASSERT_TRUE(out.append(kType, content(number)));
  ASSERT_TRUE(out.close());
  const auto files = recording_files(path_);
  ASSERT_TRUE(files);
  EXPECT_THAT(*files, ElementsAre(path_.string() + ".2", path_.string() + ".1", path_.string()));
  std::ofstream(path_.string() + ".7") << "something else";
  EXPECT_EQ(recording_files(path_)->size(), 3U);
  EXPECT_FALSE(fs::exists(path_.string() + ".3"));
  for (const std::string& name : *files) EXPECT_EQ(read(RecordingReader::open(name)).lost, 0U);
}

TEST_F(Recording, SaysHowFarItGotOnAFullDisk) {
  auto out = RecordingWriter::create("/dev/full");
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().sys_errno, ENOSPC);
  EXPECT_THAT(out.error().message, HasSubstr("No space left"));
  EXPECT_THAT(out.error().message, HasSubstr("after 0 records"));
}

TEST_F(Recording, IsReadableAfterItsWriterWasKilled) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto out = RecordingWriter::create(path_, {.block_bytes = 10'000});
    if (!out) ::_exit(1);
    for (std::uint64_t number = 0;; ++number) {
      const auto ok = out->append(kType, content(number));
      if (!ok) ::_exit(1);
    }
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  const bool grown = sys::poll_until(deadline, [this] {
    std::error_code error;
    const auto size = fs::file_size(path_, error);
    return !error && size > 200'000;
  });
  ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_TRUE(grown);
  const Contents contents = read(RecordingReader::open(path_));
  EXPECT_GT(sound_records(contents), 1000U);
  EXPECT_EQ(contents.damages, 0U);
  EXPECT_EQ(contents.lost, 0U);
}

}  // namespace
}  // namespace weir::observe
