// Writing recordings: FILE.weir, as FORMAT.md describes it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace weir::observe {

struct RecordingOptions {
  std::uint64_t rotate_bytes = 0;       ///< begin a new file before one grows past this; 0: never
  std::uint32_t max_files = 0;          ///< with rotation: files kept, the current one included; 0: all
  bool overwrite = false;               ///< replace a file of that name; else it is an error
  std::size_t block_bytes = 1U << 20U;  ///< a block is written when it has this many bytes, uncompressed
  std::chrono::nanoseconds block_age = std::chrono::seconds(1);  ///< or when its first record is this old
};

/// What is in the file: `write(2)` has taken it, so it outlives this process. `file_bytes` counts compressed bytes of
/// all files of the recording, headers included; `record_bytes` the contents of the records, uncompressed.
struct RecordingProgress {
  std::uint64_t records = 0;
  std::uint64_t record_bytes = 0;
  std::uint64_t file_bytes = 0;
  std::uint32_t files = 1;
};

/// Appends records to a recording. For one thread. After an error every later call gives the same one; what the error
/// says to be in the file can be read.
class [[nodiscard]] RecordingWriter {
 public:
  /// Creates the file, readable by its owner only. Errc::usage when it exists, or when rotation is asked for and the
  /// path is no regular file; Errc::permission, Errc::not_found for the folder.
  static Result<RecordingWriter> create(const std::string& path, const RecordingOptions& options = {});
  RecordingWriter(RecordingWriter&&) noexcept;
  RecordingWriter& operator=(RecordingWriter&&) noexcept;
  /// Writes what is pending, and has no way to say that it could not: call close().
  ~RecordingWriter();

  /// A record that every file of the recording shall begin with: the first of the file now, and of each that rotation
  /// begins. The same (type, key) replaces it for later files; what the current file has stays and the new one is
  /// added.
  Result<void> set_preamble(std::uint16_t type, std::span<const std::byte> content, std::uint64_t key = 0);

  /// Adds a record of at most 1 MiB. It is in the file after the next flush.
  Result<void> append(std::uint16_t type, std::span<const std::byte> content);

  /// Writes the pending block when its first record is `block_age` old. `now` is any steady clock's; call it often.
  Result<void> flush_if_due(std::chrono::nanoseconds now);
  /// Writes the pending block.
  Result<void> flush();
  /// flush() and close the file.
  Result<void> close();

  [[nodiscard]] const RecordingProgress& progress() const;
  /// Records that were appended but are not in the file yet.
  [[nodiscard]] std::uint32_t pending_records() const;

 private:
  struct State;
  explicit RecordingWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::observe
