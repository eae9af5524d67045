// Reading recordings, also such that a crash or a bad disk has damaged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace weir::observe {

/// One record as it was appended. `bytes` are good until the next call of next().
struct Record {
  std::uint16_t type = 0;
  std::span<const std::byte> bytes;
  bool repeated = false;  ///< a preamble that an earlier file of the recording has too
};

/// A place where a recording could not be read.
struct RecordingDamage {
  std::uint64_t offset = 0;  ///< in the file
  std::string what;
};

/// Reads one file of a recording. Whatever the file holds, at most some 34 MiB are taken for it.
class [[nodiscard]] RecordingReader {
 public:
  /// Errc::usage when it is no recording; Errc::failed when a newer Weir wrote it; Errc::not_found, Errc::permission.
  static Result<RecordingReader> open(const std::string& path);
  /// The same of bytes in memory, which must live as long as the reader; `name` stands in messages.
  static Result<RecordingReader> from_memory(std::span<const std::byte> bytes, const std::string& name);
  RecordingReader(RecordingReader&&) noexcept;
  RecordingReader& operator=(RecordingReader&&) noexcept;
  ~RecordingReader();

  /// The next record, or nothing at the end. Damaged blocks are passed over and noted; an error is one of the disk.
  Result<std::optional<Record>> next();

  /// The file ended within a block, or within its header: somebody was killed while writing it, or still writes.
  [[nodiscard]] bool truncated() const;
  /// Records that are known to be missing so far, of this file alone. What was cut off at the end is not among them.
  [[nodiscard]] std::uint64_t lost_records() const;
  /// Damaged places so far; `damages()` keeps the first 100 of them.
  [[nodiscard]] std::uint64_t damage_count() const;
  [[nodiscard]] const std::vector<RecordingDamage>& damages() const;
  /// "FILE: 2 damaged places, the first at byte 1234 (checksum); 57 records lost; ends within a block at byte 99999";
  /// empty when nothing was wrong. To be asked at the end.
  [[nodiscard]] std::string where_it_broke() const;

  /// Equal in all files of a recording; 0 when the header is damaged.
  [[nodiscard]] std::uint64_t recording() const;
  /// The place of this file in the recording, from 0.
  [[nodiscard]] std::uint64_t file_number() const;
  /// How much of the file has been read, and its size, for showing progress.
  [[nodiscard]] std::uint64_t position() const;
  [[nodiscard]] std::uint64_t size() const;

 private:
  struct State;
  explicit RecordingReader(std::unique_ptr<State> state);
  static Result<RecordingReader> begin(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The files of the recording that `path` belongs to, oldest first: FILE.weir and what rotation made of it
/// (FILE.weir.1, …). Files of other recordings that have such names are left out.
Result<std::vector<std::string>> recording_files(const std::string& path);

}  // namespace weir::observe
