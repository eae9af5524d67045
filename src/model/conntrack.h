// Connection tracking as the kernel's table has it: one entry a connection and namespace.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/flow.h"

namespace weir::model {

struct ConntrackCount {
  std::uint64_t packets = 0;  ///< socket buffers, as the kernel counts here
  std::uint64_t bytes = 0;    ///< from the network header on
  bool operator==(const ConntrackCount&) const = default;
};

/// Of the bits of enum ip_conntrack_status (linux/netfilter/nf_conntrack_common.h).
inline constexpr std::uint32_t kConntrackSeenReply = 1U << 1U;
inline constexpr std::uint32_t kConntrackAssured = 1U << 2U;
inline constexpr std::uint32_t kConntrackDying = 1U << 9U;

/// What the kernel does not tell is absent, not zero: counters without net.netfilter.nf_conntrack_acct, the start
/// without nf_conntrack_timestamp.
struct ConntrackEntry {
  std::uint64_t netns = 0;
  FlowTuple original;  ///< of the first packet; ICMP has no ports, see `icmp_id`
  FlowTuple reply;     ///< as answers come; differs from original.reversed() where addresses or ports are rewritten
  std::uint16_t zone = 0;
  std::uint16_t icmp_id = 0;
  std::uint32_t mark = 0;
  std::uint32_t status = 0;  ///< enum ip_conntrack_status
  std::uint32_t id = 0;      ///< as conntrack(8) shows it
  std::optional<std::uint32_t> timeout_s;
  std::optional<std::uint8_t> tcp_state;  ///< enum tcp_conntrack
  std::optional<ConntrackCount> original_count;
  std::optional<ConntrackCount> reply_count;
  std::optional<std::chrono::sys_time<std::chrono::nanoseconds>> started;
  bool ended = false;  ///< it is no longer in the kernel's table

  [[nodiscard]] bool rewrites() const { return reply != original.reversed(); }
  [[nodiscard]] bool tcp_closed() const;
  /// TCP: the last packets have been exchanged; others: it has ended.
  [[nodiscard]] bool over() const;
};

/// "ESTABLISHED", "TIME_WAIT", …; empty for what has no states.
std::string_view state_text(const ConntrackEntry& entry);
/// "SEEN_REPLY", "ASSURED", "SRC_NAT", "DYING", …: the bits that are set.
std::vector<std::string_view> status_names(std::uint32_t status);

/// From where a namespace's connections are known; best first.
enum class ConntrackRung : std::uint8_t {
  events,   ///< a dump, then what the kernel tells of each change
  dump,     ///< dumps only: what came and went in between is not known
  packets,  ///< no table: translations alone, as packets show them at transmission
};
const char* to_string(ConntrackRung rung);

/// What was known of connection tracking in a window, and from where.
struct ConntrackAccount {
  ConntrackRung rung = ConntrackRung::packets;  ///< the lowest of the namespaces that track connections
  std::uint64_t namespaces = 0;                 ///< that track connections
  std::uint64_t entries = 0;                    ///< in their tables
  std::uint64_t dumps = 0;                      ///< since the watch began
  std::uint64_t events = 0;
  std::uint64_t resyncs = 0;   ///< dumps because the kernel dropped events (ENOBUFS)
  std::uint64_t not_kept = 0;  ///< entries beyond what is remembered
  std::uint64_t malformed = 0;
  std::vector<std::string> unread;  ///< namespaces whose table could not be read, and why
};

}  // namespace weir::model
