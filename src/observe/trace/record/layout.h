// The tables of FORMAT.md as code. Pure: no OS.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace weir::observe::record {

inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::array<std::uint8_t, 8> kFileMagic{0x89, 'W', 'E', 'I', 'R', '\r', '\n', 0x1A};
inline constexpr std::array<std::uint8_t, 4> kBlockMagic{0xB7, 'W', 'B', 'L'};
inline constexpr std::size_t kFileHeaderBytes = 32;
inline constexpr std::size_t kBlockHeaderBytes = 32;
inline constexpr std::size_t kRecordHeaderBytes = 6;
inline constexpr std::uint32_t kMostRawBytes = 16U << 20U;
inline constexpr std::uint32_t kMostStoredBytes = 17U << 20U;
inline constexpr std::uint32_t kMostRecordBytes = 1U << 20U;
inline constexpr std::uint32_t kRepeatedPreamble = 1;

using HeaderBytes = std::array<std::byte, 32>;

struct FileHeader {
  std::uint16_t version = kVersion;
  std::uint16_t size = kFileHeaderBytes;
  std::uint64_t recording = 0;
  std::uint64_t file = 0;
};

struct BlockHeader {
  std::uint32_t flags = 0;
  std::uint32_t raw_bytes = 0;
  std::uint32_t stored_bytes = 0;
  std::uint32_t records = 0;
  std::uint64_t first_record = 0;
};

/// CRC-32 of IEEE 802.3.
std::uint32_t crc32(std::span<const std::byte> bytes);

HeaderBytes encode(const FileHeader& header);
HeaderBytes encode(const BlockHeader& header);

/// What a file's first bytes are.
enum class FileKind : std::uint8_t {
  recording,
  foreign,
  cut,      ///< a recording's beginning that ends within the header
  damaged,  ///< a recording by its magic, but the rest of the header is not what was written
};
/// `bytes`: the first ones of a file, at most 32. The header goes to `header`.
FileKind decode(std::span<const std::byte> bytes, FileHeader& header);

/// The header in these 32 bytes; nothing when magic, checksum or a limit says that it is none.
std::optional<BlockHeader> decode_block(std::span<const std::byte> bytes);

/// Appends one record to a block's content.
void append_record(std::vector<std::byte>& block, std::uint16_t type, std::span<const std::byte> content);

struct RawRecord {
  std::uint16_t type = 0;
  std::span<const std::byte> bytes;
};
/// Takes the first record off `rest`; nothing when it reaches beyond.
std::optional<RawRecord> take_record(std::span<const std::byte>& rest);

}  // namespace weir::observe::record
