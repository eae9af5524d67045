// What nftables says of the rules that a traced packet meets: one message a rule, policy or return (NFT_MSG_TRACE,
// net/netfilter/nf_tables_trace.c). Pure: bytes in, fields out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "model/trace.h"
#include "sys/netlink.h"

namespace weir::observe {

/// The beginning of a packet as it entered a base chain, and how.
struct NftPacketInfo {
  std::vector<std::byte> link;       ///< at most 20 bytes
  std::vector<std::byte> network;    ///< at most 40 bytes, IPv6 extension headers not included
  std::vector<std::byte> transport;  ///< at most 20 bytes; none for a later fragment
  std::uint32_t iif = 0;             ///< ifindex, 0: none (the packet comes from this host)
  std::uint32_t oif = 0;             ///< ifindex, 0: none yet (before routing), or the packet is for this host
  bool operator==(const NftPacketInfo&) const = default;
};

/// A packet's connection as a trace message has it (Linux 6.16).
struct NftConntrack {
  std::uint32_t id = 0;        ///< as conntrack(8) shows it
  std::uint32_t state = 0;     ///< bits of nft's ct state: 1 invalid, 2 established, 4 related, 8 new, 64 untracked
  std::uint32_t status = 0;    ///< IPS_* bits
  std::uint8_t direction = 0;  ///< 0 original, 1 reply
  bool operator==(const NftConntrack&) const = default;
};

struct NftTraceMessage {
  /// Equal for all messages of a packet while it is an sk_buff of one namespace; later packets may have it again.
  std::uint32_t id = 0;
  std::uint64_t time_ns = 0;  ///< CLOCK_MONOTONIC when it was read: not before the packet met the rule
  model::NftVerdict verdict;
  std::uint8_t nfproto = 0;  ///< NFPROTO_* of the packet: 2 IPv4, 10 IPv6, also in a table of family inet
  std::uint32_t mark = 0;
  /// Whether the packet's headers stand here. The kernel tells them once for each base chain that a packet enters.
  bool has_packet = false;
  NftPacketInfo packet;
  std::optional<NftConntrack> ct;
};

/// Whether this is a trace message; the group has no others today.
bool is_nft_trace(const sys::NetlinkMessage& message);

/// Reads one. Errc::failed for one that is torn, or that lacks its type or id.
Result<NftTraceMessage> parse_nft_trace(const sys::NetlinkMessage& message);

/// Gives each message the headers that an earlier one of the same packet brought. Remembers a bounded number of
/// packets and forgets the oldest.
class NftHeaderCarrier {
 public:
  /// Fills `message.packet` where the kernel left it out; false when nothing is known of that packet.
  bool complete(NftTraceMessage& message);
  /// After lost messages: what is known may be of packets that are gone.
  void forget() { known_.clear(), next_ = 0; }

 private:
  static constexpr std::size_t kPackets = 4096;
  std::unordered_map<std::uint32_t, NftPacketInfo> known_;
  std::array<std::uint32_t, kPackets> order_{};  ///< ids, a ring
  std::size_t next_ = 0;
};

}  // namespace weir::observe
