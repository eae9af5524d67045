#include "observe/trace/record/reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "observe/trace/record/layout.h"
#include "sys/fd.h"

namespace weir::observe {

namespace {

constexpr std::size_t kMostDamages = 100;
constexpr std::size_t kSearchBytes = 64U << 10U;

struct FreeDecompressor {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

/// What a reader is; the class in the header only owns it.
struct RecordingReader::State {
  Result<void> read_header();
  Result<bool> next_block();
  Result<bool> search(std::uint64_t from);
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> to) const;
  Result<std::vector<std::byte>> read_stored(const record::BlockHeader& header) const;
  bool unpack(const record::BlockHeader& header, std::span<const std::byte> frame);
  void note(std::uint64_t offset, std::string what);
  void account(const record::BlockHeader& header, bool sound);

  std::string name;
  sys::Fd fd;  ///< not valid: `memory` is the file
  std::span<const std::byte> memory;
  std::uint64_t size = 0;
  record::FileHeader file;
  std::uint64_t at = 0;  ///< where the next block should begin
  std::unique_ptr<ZSTD_DCtx, FreeDecompressor> decompressor{ZSTD_createDCtx()};
  std::vector<std::byte> block;
  std::span<const std::byte> rest;  ///< of the block: records that were not given yet
  bool repeated = false;
  bool truncated = false;
  bool ended = false;
  std::optional<std::uint64_t> expected_record;  ///< number of the next block's first one, once it is known
  std::uint64_t lost = 0;
  std::uint64_t damage_count = 0;
  std::vector<RecordingDamage> damages;
};

Result<std::size_t> RecordingReader::State::read_at(std::uint64_t offset, std::span<std::byte> to) const {
  if (!fd.valid()) {
    const std::uint64_t begin = std::min<std::uint64_t>(offset, memory.size());
    const std::size_t count = std::min<std::uint64_t>(to.size(), memory.size() - begin);
    std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(begin), count, to.begin());
    return count;
  }
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t got = ::pread(fd.get(), to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, fmt::format("{}, at byte {}", name, offset + done));
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

Result<void> RecordingReader::State::read_header() {
  record::HeaderBytes bytes{};
  const auto got = read_at(0, bytes);
  if (!got) return std::unexpected(got.error());
  if (*got == 0) return fail(Errc::usage, name + " is empty: no recording");
  switch (record::decode(std::span(bytes).first(*got), file)) {
    case record::FileKind::foreign:
      return fail(Errc::usage, name + " is no recording of Weir", "`weir trace -o FILE.weir` makes one");
    case record::FileKind::cut:
      truncated = true;
      at = *got;
      return {};
    case record::FileKind::damaged:
      note(0, "the file's header is damaged");
      file = {};
      at = record::kFileHeaderBytes;
      return {};
    case record::FileKind::recording:
      break;
  }
  if (file.version > record::kVersion) {
    return fail(Errc::failed,
                fmt::format("{} has version {}; this Weir reads up to {}", name, file.version, record::kVersion),
                "a newer Weir wrote it: update this one");
  }
  at = file.size;
  // Only the first file says where it begins.
  if (file.file == 0) expected_record = 0;
  return {};
}

void RecordingReader::State::note(std::uint64_t offset, std::string what) {
  ++damage_count;
  if (damages.size() < kMostDamages) damages.push_back({offset, std::move(what)});
}

/// Counts what is missing before this block, and the block itself when it is not sound.
void RecordingReader::State::account(const record::BlockHeader& header, bool sound) {
  if ((header.flags & record::kRepeatedPreamble) != 0) return;
  const std::uint64_t expected = expected_record.value_or(header.first_record);
  if (header.first_record > expected) lost += header.first_record - expected;
  if (!sound) lost += header.records;
  expected_record = header.first_record + header.records;
}

/// Moves `at` to the next sound header at or after `from`; false when there is none.
Result<bool> RecordingReader::State::search(std::uint64_t from) {
  std::vector<std::byte> window(kSearchBytes);
  const auto magic = std::as_bytes(std::span(record::kBlockMagic));
  for (std::uint64_t offset = from; offset + record::kBlockHeaderBytes <= size;) {
    const auto got = read_at(offset, window);
    if (!got) return std::unexpected(got.error());
    const std::span<const std::byte> bytes = std::span(window).first(*got);
    if (bytes.size() < record::kBlockHeaderBytes) break;
    // A header that begins in this window and ends in the next is found from there.
    const std::size_t begins = bytes.size() - record::kBlockHeaderBytes + 1;
    for (std::size_t i = 0; i < begins; ++i) {
      const auto found = std::ranges::search(bytes.subspan(i, begins - i + magic.size() - 1), magic);
      if (found.empty()) break;
      i = static_cast<std::size_t>(found.begin() - bytes.begin());
      if (record::decode_block(bytes.subspan(i))) {
        at = offset + i;
        return true;
      }
    }
    offset += begins;
  }
  return false;
}

Result<std::vector<std::byte>> RecordingReader::State::read_stored(const record::BlockHeader& header) const {
  std::vector<std::byte> frame(header.stored_bytes);
  const auto got = read_at(at + record::kBlockHeaderBytes, frame);
  if (!got) return std::unexpected(got.error());
  frame.resize(*got);
  return frame;
}

/// Decompresses a frame into `block`; whether it holds exactly the records that the header says.
bool RecordingReader::State::unpack(const record::BlockHeader& header, std::span<const std::byte> frame) {
  if (ZSTD_getFrameContentSize(frame.data(), frame.size()) != header.raw_bytes) return false;
  block.resize(header.raw_bytes);
  const std::size_t got =
      ZSTD_decompressDCtx(decompressor.get(), block.data(), block.size(), frame.data(), frame.size());
  if (ZSTD_isError(got) != 0 || got != header.raw_bytes) return false;
  std::span<const std::byte> records = block;
  std::uint32_t count = 0;
  for (; !records.empty(); ++count) {
    if (!record::take_record(records)) return false;
  }
  return count == header.records;
}

/// Makes the next sound block the current one; false at the end.
Result<bool> RecordingReader::State::next_block() {
  while (!ended) {
    record::HeaderBytes bytes{};
    const auto got = read_at(at, bytes);
    if (!got) return std::unexpected(got.error());
    if (*got < bytes.size()) {
      truncated = truncated || *got != 0;
      ended = true;
      break;
    }
    const auto header = record::decode_block(bytes);
    if (!header) {
      note(at, "no block begins where one should");
      const auto found = search(at + 1);
      if (!found) return std::unexpected(found.error());
      ended = !*found;
      continue;
    }
    const auto frame = read_stored(*header);
    if (!frame) return std::unexpected(frame.error());
    if (frame->size() < header->stored_bytes) {
      truncated = ended = true;
      break;
    }
    const bool sound = unpack(*header, *frame);
    if (!sound) note(at, fmt::format("a block of {} records does not have what its checksum says", header->records));
    at += record::kBlockHeaderBytes + header->stored_bytes;
    account(*header, sound);
    if (!sound) continue;
    rest = block;
    repeated = (header->flags & record::kRepeatedPreamble) != 0;
    return true;
  }
  return false;
}

RecordingReader::RecordingReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
RecordingReader::RecordingReader(RecordingReader&&) noexcept = default;
RecordingReader& RecordingReader::operator=(RecordingReader&&) noexcept = default;
RecordingReader::~RecordingReader() = default;

Result<RecordingReader> RecordingReader::begin(std::unique_ptr<State> state) {
  if (auto ok = state->read_header(); !ok) return pass(std::move(ok));
  return RecordingReader(std::move(state));
}

Result<RecordingReader> RecordingReader::open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->name = path;
  state->fd = sys::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!state->fd.valid()) return fail_errno(errno, path);
  struct stat status {};
  if (::fstat(state->fd.get(), &status) != 0) return fail_errno(errno, path);
  if (!S_ISREG(status.st_mode)) return fail(Errc::usage, path + " is no regular file: no recording");
  state->size = static_cast<std::uint64_t>(status.st_size);
  return begin(std::move(state));
}

Result<RecordingReader> RecordingReader::from_memory(std::span<const std::byte> bytes, const std::string& name) {
  auto state = std::make_unique<State>();
  state->name = name;
  state->memory = bytes;
  state->size = bytes.size();
  return begin(std::move(state));
}

Result<std::optional<Record>> RecordingReader::next() {
  if (state_->rest.empty()) {
    const auto more = state_->next_block();
    if (!more) return std::unexpected(more.error());
    if (!*more) return std::optional<Record>();
  }
  // The block was checked as a whole.
  const auto raw = record::take_record(state_->rest);
  return Record{raw->type, raw->bytes, state_->repeated};
}

bool RecordingReader::truncated() const {
  return state_->truncated;
}
std::uint64_t RecordingReader::lost_records() const {
  return state_->lost;
}
std::uint64_t RecordingReader::damage_count() const {
  return state_->damage_count;
}
const std::vector<RecordingDamage>& RecordingReader::damages() const {
  return state_->damages;
}
std::uint64_t RecordingReader::recording() const {
  return state_->file.recording;
}
std::uint64_t RecordingReader::file_number() const {
  return state_->file.file;
}
std::uint64_t RecordingReader::position() const {
  return std::min(state_->at, state_->size);
}
std::uint64_t RecordingReader::size() const {
  return state_->size;
}

std::string RecordingReader::where_it_broke() const {
  const State& state = *state_;
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  if (state.damage_count != 0) {
    add(fmt::format("{} damaged {}, the first at byte {} ({})", state.damage_count,
                    state.damage_count == 1 ? "place" : "places", state.damages.front().offset,
                    state.damages.front().what));
  }
  if (state.lost != 0) add(fmt::format("{} records lost", state.lost));
  if (state.truncated) add(fmt::format("the file ends within the block at byte {}", state.at));
  return text.empty() ? text : state.name + ": " + text;
}

}  // namespace weir::observe
