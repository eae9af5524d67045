#include "observe/trace/record/layout.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace weir::observe::record {

namespace {

static_assert(std::endian::native == std::endian::little, "the file is little endian, and so far every host is");

constexpr std::size_t kFileCrcAt = 12;
constexpr std::size_t kBlockCrcAt = 20;

constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1U) ^ ((value & 1U) != 0 ? 0xEDB88320U : 0U);
    table[i] = value;
  }
  return table;
}();

template <class T>
void put(std::span<std::byte> bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

template <class T>
T get(std::span<const std::byte> bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

/// Checksum of a header with its own place as zeros.
std::uint32_t header_crc(std::span<const std::byte> bytes, std::size_t crc_at) {
  HeaderBytes copy{};
  std::ranges::copy(bytes.first(copy.size()), copy.begin());
  put<std::uint32_t>(copy, crc_at, 0);
  return crc32(copy);
}

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes) {
  std::uint32_t value = 0xFFFFFFFFU;
  for (const std::byte byte : bytes)
    value = kCrcTable[(value ^ std::to_integer<std::uint32_t>(byte)) & 0xFFU] ^ (value >> 8U);
  return ~value;
}

HeaderBytes encode(const FileHeader& header) {
  HeaderBytes bytes{};
  std::memcpy(bytes.data(), kFileMagic.data(), kFileMagic.size());
  put(bytes, 8, header.version);
  put(bytes, 10, header.size);
  put(bytes, 16, header.recording);
  put(bytes, 24, header.file);
  put(bytes, kFileCrcAt, crc32(bytes));
  return bytes;
}

HeaderBytes encode(const BlockHeader& header) {
  HeaderBytes bytes{};
  std::memcpy(bytes.data(), kBlockMagic.data(), kBlockMagic.size());
  put(bytes, 4, header.flags);
  put(bytes, 8, header.raw_bytes);
  put(bytes, 12, header.stored_bytes);
  put(bytes, 16, header.records);
  put(bytes, 24, header.first_record);
  put(bytes, kBlockCrcAt, crc32(bytes));
  return bytes;
}

FileKind decode(std::span<const std::byte> bytes, FileHeader& header) {
  const std::size_t known = std::min(bytes.size(), kFileMagic.size());
  if (known == 0 || std::memcmp(bytes.data(), kFileMagic.data(), known) != 0) return FileKind::foreign;
  if (bytes.size() < kFileHeaderBytes) return FileKind::cut;
  header = {.version = get<std::uint16_t>(bytes, 8),
            .size = get<std::uint16_t>(bytes, 10),
            .recording = get<std::uint64_t>(bytes, 16),
            .file = get<std::uint64_t>(bytes, 24)};
  const bool sound =
      header.size >= kFileHeaderBytes && get<std::uint32_t>(bytes, kFileCrcAt) == header_crc(bytes, kFileCrcAt);
  return sound ? FileKind::recording : FileKind::damaged;
}

std::optional<BlockHeader> decode_block(std::span<const std::byte> bytes) {
  if (bytes.size() < kBlockHeaderBytes) return {};
  if (std::memcmp(bytes.data(), kBlockMagic.data(), kBlockMagic.size()) != 0) return {};
  if (get<std::uint32_t>(bytes, kBlockCrcAt) != header_crc(bytes, kBlockCrcAt)) return {};
  const BlockHeader header{.flags = get<std::uint32_t>(bytes, 4),
                           .raw_bytes = get<std::uint32_t>(bytes, 8),
                           .stored_bytes = get<std::uint32_t>(bytes, 12),
                           .records = get<std::uint32_t>(bytes, 16),
                           .first_record = get<std::uint64_t>(bytes, 24)};
  if (header.raw_bytes == 0 || header.raw_bytes > kMostRawBytes) return {};
  if (header.stored_bytes == 0 || header.stored_bytes > kMostStoredBytes || header.records == 0) return {};
  return header;
}

void append_record(std::vector<std::byte>& block, std::uint16_t type, std::span<const std::byte> content) {
  std::array<std::byte, kRecordHeaderBytes> head{};
  put(head, 0, type);
  put(head, sizeof type, static_cast<std::uint32_t>(content.size()));
  // Not resize(), which would write every byte twice.
  block.insert(block.end(), head.begin(), head.end());
  block.insert(block.end(), content.begin(), content.end());
}

std::optional<RawRecord> take_record(std::span<const std::byte>& rest) {
  if (rest.size() < kRecordHeaderBytes) return {};
  const auto size = get<std::uint32_t>(rest, 2);
  if (size > kMostRecordBytes || size > rest.size() - kRecordHeaderBytes) return {};
  const RawRecord record{get<std::uint16_t>(rest, 0), rest.subspan(kRecordHeaderBytes, size)};
  rest = rest.subspan(kRecordHeaderBytes + size);
  return record;
}

}  // namespace weir::observe::record
