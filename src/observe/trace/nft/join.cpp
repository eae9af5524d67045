#include "observe/trace/nft/join.h"

#include <netinet/in.h>

#include <algorithm>
#include <optional>

namespace weir::observe {

namespace {

using Bytes = std::span<const std::byte>;

constexpr std::size_t kIpv4Header = 20;
constexpr std::size_t kIpv6Header = 40;

/// A stretch of a header that says which packet it is.
struct Stretch {
  std::size_t from;
  std::size_t to;
};

/// Equal in the stretches, as far as both sides reach.
bool agree(Bytes a, Bytes b, std::initializer_list<Stretch> stretches) {
  const std::size_t both = std::min(a.size(), b.size());
  return std::ranges::all_of(stretches, [&](const Stretch& stretch) {
    const std::size_t to = std::min(stretch.to, both);
    return stretch.from >= to ||
           std::ranges::equal(a.subspan(stretch.from, to - stretch.from), b.subspan(stretch.from, to - stretch.from));
  });
}

unsigned version_of(Bytes network) {
  return std::to_integer<unsigned>(network[0]) >> 4U;
}

/// What lies behind the network header, and by which protocol. Empty bytes: not copied, or a later fragment.
struct Behind {
  unsigned protocol = IPPROTO_NONE;
  Bytes bytes;
};

Behind behind_v4(Bytes packet) {
  const std::size_t header = 4 * (std::to_integer<std::size_t>(packet[0]) & 0xFU);
  const bool later_fragment =
      ((std::to_integer<unsigned>(packet[6]) & 0x1FU) | std::to_integer<unsigned>(packet[7])) != 0;
  Behind behind{std::to_integer<unsigned>(packet[9]), {}};
  if (!later_fragment && header >= kIpv4Header && header < packet.size()) behind.bytes = packet.subspan(header);
  return behind;
}

/// Walks the extension headers (RFC 8200 section 4, AH by RFC 4302).
Behind behind_v6(Bytes packet) {
  unsigned next = std::to_integer<unsigned>(packet[6]);
  Bytes rest = packet.subspan(kIpv6Header);
  for (;;) {
    std::size_t size = 0;
    switch (next) {
      case IPPROTO_HOPOPTS:
      case IPPROTO_ROUTING:
      case IPPROTO_DSTOPTS:
      case IPPROTO_MH:
        if (rest.size() < 2) return {next, {}};
        size = 8 * (std::to_integer<std::size_t>(rest[1]) + 1);
        break;
      case IPPROTO_AH:
        if (rest.size() < 2) return {next, {}};
        size = 4 * (std::to_integer<std::size_t>(rest[1]) + 2);
        break;
      case IPPROTO_FRAGMENT:
        if (rest.size() < 8) return {next, {}};
        // The offset is in the upper 13 bits.
        if (rest[2] != std::byte{0} || (rest[3] & std::byte{0xF8}) != std::byte{0}) return {next, {}};
        size = 8;
        break;
      default:
        return {next, rest};
    }
    next = std::to_integer<unsigned>(rest[0]);
    if (size >= rest.size()) return {next, {}};
    rest = rest.subspan(size);
  }
}

bool same_transport(Bytes told, const Behind& behind) {
  if (told.empty() || behind.bytes.empty()) return true;
  switch (behind.protocol) {
    case IPPROTO_TCP:  // all but the checksum
      return agree(told, behind.bytes, {{0, 16}, {18, 20}});
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
      return agree(told, behind.bytes, {{0, 6}, {8, 20}});
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      return agree(told, behind.bytes, {{0, 2}, {4, 20}});
    default:  // SCTP's and DCCP's ports; of others the first word is as good
      return agree(told, behind.bytes, {{0, 4}});
  }
}

}  // namespace

bool same_packet(const NftTraceMessage& message, std::span<const std::byte> packet) {
  const Bytes told(message.packet.network);
  if (told.empty() || packet.empty() || version_of(told) != version_of(packet)) return false;
  if (version_of(told) == 4) {
    if (std::min(told.size(), packet.size()) < kIpv4Header) return false;
    // Header length; total length, id, fragment; protocol; addresses and options. Not TOS, TTL, checksum.
    if (!agree(told, packet, {{0, 1}, {2, 8}, {9, 10}, {12, kIpv4Header}})) return false;
    const std::size_t header = 4 * (std::to_integer<std::size_t>(packet[0]) & 0xFU);
    return agree(told, packet, {{kIpv4Header, header}}) && same_transport(message.packet.transport, behind_v4(packet));
  }
  if (version_of(told) != 6 || std::min(told.size(), packet.size()) < kIpv6Header) return false;
  // The flow label; payload length and next header; addresses. Not the traffic class nor the hop limit.
  const auto label = [](Bytes bytes) { return bytes[1] & std::byte{0x0F}; };
  return label(told) == label(packet) && agree(told, packet, {{2, 7}, {8, kIpv6Header}}) &&
         same_transport(message.packet.transport, behind_v6(packet));
}

}  // namespace weir::observe
