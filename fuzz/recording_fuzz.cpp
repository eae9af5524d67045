// A recording from somebody else's disk. The checksums of headers would stop a fuzzer at once, so the first byte says
// whether they are made right before the reader sees them.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "observe/trace/record/layout.h"
#include "observe/trace/record/reader.h"

namespace {

namespace record = weir::observe::record;

void seal(std::span<std::byte> header, std::size_t crc_at) {
  std::memset(header.data() + crc_at, 0, sizeof(std::uint32_t));
  const std::uint32_t crc = record::crc32(header);
  std::memcpy(header.data() + crc_at, &crc, sizeof crc);
}

/// Gives every header that stands where one is expected its checksum.
void seal_all(std::span<std::byte> file) {
  if (file.size() < record::kFileHeaderBytes) return;
  std::memcpy(file.data(), record::kFileMagic.data(), record::kFileMagic.size());
  seal(file.first(record::kFileHeaderBytes), 12);
  for (auto rest = file.subspan(record::kFileHeaderBytes); rest.size() >= record::kBlockHeaderBytes;) {
    std::memcpy(rest.data(), record::kBlockMagic.data(), record::kBlockMagic.size());
    seal(rest.first(record::kBlockHeaderBytes), 20);
    const auto header = record::decode_block(rest);
    if (!header) return;
    rest = rest.subspan(std::min<std::size_t>(rest.size(), record::kBlockHeaderBytes + header->stored_bytes));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  std::vector<std::byte> file(bytes.begin(), bytes.end());
  if ((data[0] & 1U) != 0) seal_all(file);
  auto reader = weir::observe::RecordingReader::from_memory(file, "fuzz");
  if (!reader) return 0;
  std::uint64_t checksum = 0;
  for (;;) {
    const auto next = reader->next();
    if (!next) std::abort();
    if (!*next) break;
    for (const std::byte byte : (*next)->bytes) checksum += std::to_integer<unsigned>(byte);
  }
  const bool clean = !reader->truncated() && reader->damage_count() == 0 && reader->lost_records() == 0;
  if (clean != reader->where_it_broke().empty()) std::abort();
  return checksum == ~std::uint64_t{0} ? 1 : 0;
}
