// Packet journeys: what was seen of a packet at each hook that it passed (DESIGN section 1: event, journey).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/entity.h"

namespace weir::model {

/// Where the copied bytes of a packet begin.
enum class PacketStart : std::uint8_t { link, network };

/// The beginning of a packet as it stood at a hook.
struct PacketBytes {
  PacketStart start = PacketStart::network;
  std::uint32_t length = 0;  ///< of the packet from `start` on, whatever was copied
  std::vector<std::byte> bytes;
  bool operator==(const PacketBytes&) const = default;
};

/// Metadata of a socket buffer (include/linux/skbuff.h), by the kernel's names.
struct SkbFields {
  std::uint64_t address = 0;  ///< of the sk_buff; a clone has another one than its original
  std::uint16_t queue_mapping = 0;
  std::uint32_t mark = 0;
  std::uint32_t hash = 0;
  std::uint32_t priority = 0;
  std::uint32_t len = 0;  ///< skb->len: of what lies between data and tail at this hook, fragments included
  std::uint16_t gso_segs = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t protocol = 0;             ///< ETH_P_*, host order
  std::optional<std::uint16_t> vlan_tci;  ///< accelerated tag; tags within the bytes are not here
  std::uint16_t vlan_protocol = 0x8100;   ///< of vlan_tci: 0x8100 or 0x88a8
  std::uint32_t napi_id = 0;              ///< of the receiving NAPI; on the way out sender_cpu, which shares its place
  std::uint8_t ip_summed = 0;             ///< CHECKSUM_*
  std::uint32_t iif = 0;                  ///< skb_iif: ifindex it was received by, 0: none in this namespace
  bool operator==(const SkbFields&) const = default;
};

/// One direction of a connection as conntrack keeps it. Addresses as text; ports 0 where the protocol has none.
struct CtTuple {
  std::string src;
  std::string dst;
  std::uint16_t sport = 0;  ///< ICMP: the id
  std::uint16_t dport = 0;
  std::uint8_t protocol = 0;  ///< IPPROTO_*
  bool operator==(const CtTuple&) const = default;
};

/// A packet's connection (struct nf_conn and the ctinfo of skb->_nfct).
struct Conntrack {
  std::string state;         ///< "new", "established", "related", "established-reply", "related-reply", "untracked"
  std::uint32_t status = 0;  ///< IPS_* bits
  std::uint32_t mark = 0;
  std::uint16_t zone = 0;
  CtTuple original;
  CtTuple reply;
  bool operator==(const Conntrack&) const = default;
};

/// What one nftables rule, or the policy of a chain, said about a packet (NFT_MSG_TRACE).
struct NftVerdict {
  std::string family;  ///< "ip", "ip6", "inet", "bridge", "arp", "netdev"
  std::string table;
  std::string chain;
  std::uint64_t handle = 0;  ///< of the rule, as `nft -a` shows it; 0: no rule (policy, end of a chain)
  std::string type;          ///< "rule", "policy", "return"
  std::string verdict;       ///< "accept", "drop", "continue", "jump X", "goto X", "return", "queue", "stolen"
  bool operator==(const NftVerdict&) const = default;
};

/// Why and where a packet was freed as a drop (tracepoint skb:kfree_skb).
struct Drop {
  std::uint32_t number = 0;  ///< enum skb_drop_reason of the kernel that was traced
  std::string reason;        ///< its name without SKB_DROP_REASON_, e.g. "NETFILTER_DROP"; "#N" where unknown
  std::uint64_t address = 0;
  std::string location;  ///< function+offset, or the address where symbols are hidden
  bool operator==(const Drop&) const = default;
};

/// A route lookup (fib_table_lookup, fib6_table_lookup).
struct FibLookup {
  std::uint32_t table = 0;
  std::int32_t error = 0;  ///< 0 or a negative errno: -ENETUNREACH no route, -EHOSTUNREACH, -EINVAL blackhole
  std::uint32_t oif = 0;   ///< device of the route that was found
  std::string src;
  std::string dst;
  std::string gateway;  ///< empty: on link
  bool operator==(const FibLookup&) const = default;
};

/// What XDP did with packets, before they have an sk_buff (tracepoints xdp:*).
struct XdpOutcome {
  std::string action;         ///< "TX", "REDIRECT", …; the number that the program returned where it is none
  std::uint32_t program = 0;  ///< id of the XDP program, 0: not known at this hook
  std::int32_t error = 0;     ///< 0 or a negative errno
  std::uint32_t to = 0;       ///< of a redirect: ifindex, key of the map, or CPU; 0: not known at this hook
  std::uint32_t sent = 0;     ///< of a batch
  std::uint32_t dropped = 0;
  bool operator==(const XdpOutcome&) const = default;
};

/// Where an event was seen. The names of tracepoints are the kernel's ("net:net_dev_queue"), brackets of netfilter
/// "nf:PRE_ROUTING:first", tc programs "tcx:ingress", functions "kprobe:ip_rcv".
struct Hook {
  std::uint16_t id = 0;
  std::string name;
  bool operator==(const Hook&) const = default;
};

/// One packet at one hook.
struct TraceEvent {
  std::uint64_t time_ns = 0;   ///< CLOCK_MONOTONIC
  std::uint64_t journey = 0;   ///< equal for all events of a packet; 0: of none, an event on its own (XDP)
  std::uint32_t sequence = 0;  ///< place within the journey as the kernel counted; a gap is a lost event
  std::uint16_t branch = 0;    ///< 0: the packet itself; others: its fragments and segments, each with own sequences
  std::uint32_t cpu = 0;
  Hook hook;
  DeviceRef device;                   ///< ifindex 0: none known at this hook
  std::optional<PacketBytes> packet;  ///< only where the headers are other than at the event before
  SkbFields skb;
  std::optional<Conntrack> ct;  ///< only where it is other than at the event before
  std::optional<NftVerdict> nft;
  std::optional<Drop> drop;
  std::optional<FibLookup> fib;
  std::optional<XdpOutcome> xdp;
  std::optional<std::int64_t> result;  ///< what the hook itself says: rc of net_dev_xmit, bytes read, ICMP type<<8|code
  std::vector<std::string> stack;      ///< innermost first, function+offset; empty: not asked for
  std::uint64_t cgroup = 0;            ///< id of the cgroup of the packet's socket, 0: none
  std::string workload;                ///< name of who owns the packet at this hook, empty: unknown
  bool beside = false;  ///< about the packet, not of it (a route lookup): `skb` says nothing but its address
  bool clone = false;   ///< another sk_buff that shares the packet's data
  bool first = false;   ///< the journey begins here
  bool last = false;    ///< the packet is gone after this
  bool operator==(const TraceEvent&) const = default;
};

/// How a journey ended.
enum class JourneyEnd : std::uint8_t {
  unknown,    ///< nothing said so: still on its way when the trace ended, or freed where no hook looks
  dropped,    ///< kfree_skb with a reason
  consumed,   ///< consume_skb: it had done its duty
  delivered,  ///< read by a program from its socket
  arrived,    ///< reached the local stack, which frees it where no hook looks
  merged,     ///< GRO made it part of another packet
};
const char* to_string(JourneyEnd end);

/// All events of one packet, in order.
struct Journey {
  std::uint64_t id = 0;            ///< 0: no journey but one event that is of no packet
  std::vector<TraceEvent> events;  ///< by sequence
  JourneyEnd end = JourneyEnd::unknown;
  std::uint32_t lost_events = 0;  ///< gaps in the sequence
  bool begins = false;            ///< its first event was seen where packets come into being
  /// Every event of it was received, and both its beginning and its end were seen.
  [[nodiscard]] bool complete() const { return begins && lost_events == 0 && end != JourneyEnd::unknown; }
};

/// Where packets at one hook went: seen == emitted + filtered + sampled_out + lost.
struct HookAccount {
  std::uint64_t seen = 0;
  std::uint64_t emitted = 0;
  std::uint64_t filtered = 0;
  std::uint64_t sampled_out = 0;
  std::uint64_t lost = 0;
  /// Those of `lost` that the kernel left out, because the same program was interrupted on that CPU (recursion_misses):
  /// a larger ring does not help, and their packet is not known.
  std::uint64_t missed = 0;
  HookAccount& operator+=(const HookAccount& other);
  [[nodiscard]] bool balanced() const { return seen == emitted + filtered + sampled_out + lost; }
  bool operator==(const HookAccount&) const = default;
};

/// The books of a trace.
struct TraceSummary {
  std::map<std::string, HookAccount> hooks;  ///< by name of the hook
  std::uint64_t journeys = 0;
  std::uint64_t journeys_complete = 0;
  std::uint64_t duration_ns = 0;
  std::vector<std::string> notes;  ///< what could not be attached or resolved, for people
  [[nodiscard]] HookAccount total() const;
};

}  // namespace weir::model
