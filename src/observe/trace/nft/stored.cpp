#include "observe/trace/nft/stored.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <string>

namespace weir::observe {

namespace {

/// The fixed part. Bytes and words of the sizes follow it, in their order. Little endian, as all of a recording.
struct Fixed {
  std::uint64_t netns = 0;
  std::uint64_t time_ns = 0;
  std::uint64_t handle = 0;
  std::uint32_t id = 0;
  std::uint32_t mark = 0;
  std::uint32_t iif = 0;
  std::uint32_t oif = 0;
  std::array<std::uint16_t, 8> sizes{};  ///< link, network, transport; family, table, chain, type, verdict
  std::uint8_t nfproto = 0;
  std::array<std::uint8_t, 7> pad{};
};
static_assert(sizeof(Fixed) == 64);
static_assert(std::endian::native == std::endian::little);

std::array<std::span<const std::byte>, 8> parts_of(const NftTraceMessage& message) {
  const auto text = [](const std::string& word) { return std::as_bytes(std::span(word)); };
  const model::NftVerdict& verdict = message.verdict;
  return {message.packet.link, message.packet.network, message.packet.transport, text(verdict.family),
          text(verdict.table), text(verdict.chain),    text(verdict.type),       text(verdict.verdict)};
}

}  // namespace

std::vector<std::byte> store_nft_trace(std::uint64_t netns, const NftTraceMessage& message) {
  Fixed fixed{.netns = netns,
              .time_ns = message.time_ns,
              .handle = message.verdict.handle,
              .id = message.id,
              .mark = message.mark,
              .iif = message.packet.iif,
              .oif = message.packet.oif,
              .nfproto = message.nfproto};
  std::vector<std::byte> record(sizeof fixed);
  const auto parts = parts_of(message);
  for (std::size_t index = 0; index < parts.size(); ++index) {
    // Names of nftables have at most 255 characters (NFT_NAME_MAXLEN).
    const auto part =
        parts[index].first(std::min<std::size_t>(parts[index].size(), std::numeric_limits<std::uint16_t>::max()));
    fixed.sizes[index] = static_cast<std::uint16_t>(part.size());
    record.insert(record.end(), part.begin(), part.end());
  }
  std::memcpy(record.data(), &fixed, sizeof fixed);
  return record;
}

Result<NftHeard> read_stored_nft_trace(std::span<const std::byte> record) {
  Fixed fixed;
  const auto torn = [] { return fail(Errc::failed, "a record of a rule that was met is shorter than it says"); };
  if (record.size() < sizeof fixed) return torn();
  std::memcpy(&fixed, record.data(), sizeof fixed);
  std::span<const std::byte> rest = record.subspan(sizeof fixed);
  std::array<std::span<const std::byte>, 8> parts;
  for (std::size_t index = 0; index < parts.size(); ++index) {
    if (rest.size() < fixed.sizes[index]) return torn();
    parts[index] = rest.first(fixed.sizes[index]);
    rest = rest.subspan(fixed.sizes[index]);
  }
  const auto bytes = [&](std::size_t index) {
    return std::vector<std::byte>(parts[index].begin(), parts[index].end());
  };
  const auto text = [&](std::size_t index) {
    return std::string(reinterpret_cast<const char*>(parts[index].data()), parts[index].size());
  };
  NftHeard heard;
  heard.netns = fixed.netns;
  NftTraceMessage& message = heard.message;
  message.id = fixed.id;
  message.time_ns = fixed.time_ns;
  message.nfproto = fixed.nfproto;
  message.mark = fixed.mark;
  message.has_packet = !parts[1].empty();
  message.packet = {bytes(0), bytes(1), bytes(2), fixed.iif, fixed.oif};
  message.verdict = {text(3), text(4), text(5), fixed.handle, text(6), text(7)};
  return heard;
}

}  // namespace weir::observe
