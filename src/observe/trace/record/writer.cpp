#include "observe/trace/record/writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

#include "base/units.h"
#include "observe/trace/record/layout.h"
#include "sys/fd.h"

namespace weir::observe {

namespace {

/// Quick, and on small records of a few kinds nearly as good as the higher levels.
constexpr int kZstdLevel = 1;

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
using Compressor = std::unique_ptr<ZSTD_CCtx, FreeCompressor>;

Compressor make_compressor() {
  Compressor compressor(ZSTD_createCCtx());
  ZSTD_CCtx_setParameter(compressor.get(), ZSTD_c_compressionLevel, kZstdLevel);
  ZSTD_CCtx_setParameter(compressor.get(), ZSTD_c_checksumFlag, 1);
  return compressor;
}

/// FILE.weir.1 becomes FILE.weir.2 and so on, FILE.weir becomes FILE.weir.1; at most `max_files` - 1 of them stay, 0:
/// all.
Result<void> shift_files(const std::string& path, std::uint32_t max_files) {
  const auto name = [&path](std::uint32_t number) { return number == 0 ? path : fmt::format("{}.{}", path, number); };
  std::uint32_t last = 0;
  while (::access(name(last + 1).c_str(), F_OK) == 0) ++last;
  for (std::uint32_t number = last + 1; number-- > 0;) {
    const bool too_old = max_files != 0 && number + 1 >= max_files;
    if (too_old && ::unlink(name(number).c_str()) != 0) return fail_errno(errno, "remove " + name(number));
    if (!too_old && ::rename(name(number).c_str(), name(number + 1).c_str()) != 0) {
      return fail_errno(errno, "rename " + name(number));
    }
  }
  return {};
}

}  // namespace

/// What a writer is; the class in the header only owns it.
struct RecordingWriter::State {
  State(std::string file_path, const RecordingOptions& wanted) : path(std::move(file_path)), options(wanted) {
    const std::size_t most = record::kMostRawBytes - record::kMostRecordBytes - record::kRecordHeaderBytes;
    options.block_bytes = std::clamp<std::size_t>(options.block_bytes, 1, most);
  }

  Result<void> create();
  Result<void> begin_file();
  Result<void> rotate();
  Result<void> append(std::uint16_t type, std::span<const std::byte> content);
  Result<void> flush();
  Result<void> compress(std::span<const std::byte> raw, std::uint32_t records, std::uint32_t flags);
  Result<void> write_all(std::span<const std::byte> bytes);
  Result<void> repeat_preamble();
  std::unexpected<Error> stop(Error error);

  struct Preamble {
    std::uint16_t type;
    std::vector<std::byte> content;
  };

  std::string path;
  RecordingOptions options;
  sys::Fd fd;
  bool regular = true;
  std::uint64_t recording = 0;
  std::uint64_t file_number = 0;
  std::uint64_t file_bytes = 0;    ///< of the current file, whole blocks only
  bool has_own_records = false;    ///< the current file has more than a repeated preamble
  std::vector<Preamble> preamble;  ///< in the order in which they came first
  std::map<std::pair<std::uint16_t, std::uint64_t>, std::size_t> preamble_places;
  std::vector<std::byte> pending;
  std::vector<std::byte> buffer;
  std::span<const std::byte> block;  ///< header and frame within the buffer, to be written at once
  std::uint32_t pending_records = 0;
  std::uint64_t pending_content = 0;
  std::chrono::nanoseconds pending_since{-1};  ///< negative: nobody has said the time yet
  Compressor compressor = make_compressor();
  RecordingProgress progress;
  std::optional<Error> stopped;
};

Result<void> RecordingWriter::State::create() {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) regular = S_ISREG(status.st_mode);
  if (!regular && options.rotate_bytes != 0) {
    return fail(Errc::usage, path + " is no regular file, so it cannot be rotated");
  }
  // Not O_TRUNC: whoever reads the old file, or has a link to it, keeps it whole.
  if (regular && options.overwrite && ::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return fail_errno(errno, "replace " + path);
  }
  if (::getrandom(&recording, sizeof recording, 0) != sizeof recording) return fail_errno(errno, "getrandom");
  return begin_file();
}

Result<void> RecordingWriter::State::begin_file() {
  const int create = regular ? O_CREAT | O_EXCL : 0;
  fd = sys::Fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | create, 0600));
  if (!fd.valid() && errno == EEXIST) {
    return fail(Errc::usage, path + " exists", "give another name, or remove it first");
  }
  if (!fd.valid()) return fail_errno(errno, path);
  file_bytes = 0;
  has_own_records = false;
  const auto header = record::encode(record::FileHeader{.recording = recording, .file = file_number});
  if (auto ok = write_all(header); !ok) {
    if (regular) (void)::unlink(path.c_str());
    return ok;
  }
  return {};
}

Result<void> RecordingWriter::State::rotate() {
  if (auto ok = shift_files(path, options.max_files); !ok) return stop(std::move(ok).error());
  ++file_number;
  if (auto ok = begin_file(); !ok) {
    // The last good file is the newest one again; that there is no FILE.weir.1 then disturbs nobody.
    (void)::rename((path + ".1").c_str(), path.c_str());
    return stopped ? pass(std::move(ok)) : stop(std::move(ok).error());
  }
  ++progress.files;
  return repeat_preamble();
}

Result<void> RecordingWriter::State::repeat_preamble() {
  std::vector<std::byte> raw;
  std::uint32_t records = 0;
  for (std::size_t i = 0; i < preamble.size(); ++i) {
    record::append_record(raw, preamble[i].type, preamble[i].content);
    ++records;
    if (raw.size() < options.block_bytes && i + 1 < preamble.size()) continue;
    if (auto ok = compress(raw, records, record::kRepeatedPreamble); !ok) return ok;
    if (auto ok = write_all(block); !ok) return ok;
    raw.clear();
    records = 0;
  }
  return {};
}

Result<void> RecordingWriter::State::append(std::uint16_t type, std::span<const std::byte> content) {
  if (stopped) return std::unexpected(*stopped);
  if (content.size() > record::kMostRecordBytes) {
    return fail(Errc::failed,
                fmt::format("a record of {} bytes; at most {} fit", content.size(), record::kMostRecordBytes));
  }
  record::append_record(pending, type, content);
  ++pending_records;
  pending_content += content.size();
  return pending.size() >= options.block_bytes ? flush() : Result<void>{};
}

/// Makes `block` of these records.
Result<void> RecordingWriter::State::compress(std::span<const std::byte> raw, std::uint32_t records,
                                              std::uint32_t flags) {
  const std::size_t bound = record::kBlockHeaderBytes + ZSTD_compressBound(raw.size());
  if (buffer.size() < bound) buffer.resize(bound);
  const std::span<std::byte> frame = std::span(buffer).subspan(record::kBlockHeaderBytes);
  const std::size_t stored = ZSTD_compress2(compressor.get(), frame.data(), frame.size(), raw.data(), raw.size());
  if (ZSTD_isError(stored) != 0) return stop({.message = path + ": zstd: " + ZSTD_getErrorName(stored), .hint = {}});
  const auto header = record::encode(record::BlockHeader{.flags = flags,
                                                         .raw_bytes = static_cast<std::uint32_t>(raw.size()),
                                                         .stored_bytes = static_cast<std::uint32_t>(stored),
                                                         .records = records,
                                                         .first_record = progress.records});
  std::ranges::copy(header, buffer.begin());
  block = std::span(buffer).first(record::kBlockHeaderBytes + stored);
  return {};
}

Result<void> RecordingWriter::State::flush() {
  if (stopped) return std::unexpected(*stopped);
  if (pending_records == 0) return {};
  if (auto ok = compress(pending, pending_records, 0); !ok) return ok;
  const bool full = options.rotate_bytes != 0 && file_bytes + block.size() > options.rotate_bytes;
  if (full && has_own_records) {
    if (auto ok = rotate(); !ok) return ok;
    if (auto ok = compress(pending, pending_records, 0); !ok) return ok;
  }
  if (auto ok = write_all(block); !ok) return ok;
  has_own_records = true;
  progress.records += pending_records;
  progress.record_bytes += pending_content;
  pending.clear();
  pending_records = 0;
  pending_content = 0;
  pending_since = std::chrono::nanoseconds(-1);
  return {};
}

Result<void> RecordingWriter::State::write_all(std::span<const std::byte> bytes) {
  std::span<const std::byte> rest = bytes;
  while (!rest.empty()) {
    const ssize_t done = ::write(fd.get(), rest.data(), rest.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) {
      const int error = done == 0 ? ENOSPC : errno;
      // Half a block is of no use. A file that cannot be cut is read up to the last whole block all the same.
      if (regular) (void)::ftruncate(fd.get(), static_cast<off_t>(file_bytes));
      return stop(errno_error(error, path));
    }
    rest = rest.subspan(static_cast<std::size_t>(done));
  }
  file_bytes += bytes.size();
  progress.file_bytes += bytes.size();
  return {};
}

/// Says how far the recording got, and that there will be no more of it.
std::unexpected<Error> RecordingWriter::State::stop(Error error) {
  error.message +=
      fmt::format("; the recording ends after {} records ({} bytes in {})", progress.records, progress.file_bytes,
                  progress.files == 1 ? "one file" : fmt::format("{} files", progress.files));
  stopped = error;
  return std::unexpected(std::move(error));
}

RecordingWriter::RecordingWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
RecordingWriter::RecordingWriter(RecordingWriter&&) noexcept = default;
RecordingWriter& RecordingWriter::operator=(RecordingWriter&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
RecordingWriter::~RecordingWriter() {
  if (state_ && state_->fd.valid()) (void)state_->flush();
}

Result<RecordingWriter> RecordingWriter::create(const std::string& path, const RecordingOptions& options) {
  auto state = std::make_unique<State>(path, options);
  if (auto ok = state->create(); !ok) return pass(std::move(ok));
  return RecordingWriter(std::move(state));
}

Result<void> RecordingWriter::set_preamble(std::uint16_t type, std::span<const std::byte> content, std::uint64_t key) {
  if (auto ok = state_->append(type, content); !ok) return ok;
  State::Preamble entry{type, {content.begin(), content.end()}};
  const auto [place, is_new] = state_->preamble_places.try_emplace({type, key}, state_->preamble.size());
  if (is_new) {
    state_->preamble.push_back(std::move(entry));
  } else {
    state_->preamble[place->second] = std::move(entry);
  }
  return {};
}

Result<void> RecordingWriter::append(std::uint16_t type, std::span<const std::byte> content) {
  return state_->append(type, content);
}

Result<void> RecordingWriter::flush_if_due(std::chrono::nanoseconds now) {
  State& state = *state_;
  if (state.pending_records == 0) return {};
  if (state.pending_since < std::chrono::nanoseconds::zero()) state.pending_since = now;
  return now - state.pending_since >= state.options.block_age ? state.flush() : Result<void>{};
}

Result<void> RecordingWriter::flush() {
  return state_->flush();
}

Result<void> RecordingWriter::close() {
  auto flushed = state_->flush();
  // Network file systems report a full disk only here.
  if (const int fd = std::move(state_->fd).release(); fd >= 0 && ::close(fd) != 0 && flushed) {
    return state_->stop(errno_error(errno, state_->path));
  }
  return flushed;
}

const RecordingProgress& RecordingWriter::progress() const {
  return state_->progress;
}
std::uint32_t RecordingWriter::pending_records() const {
  return state_->pending_records;
}

}  // namespace weir::observe
