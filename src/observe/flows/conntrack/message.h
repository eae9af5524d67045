// Connection tracking's messages (ctnetlink, net/netfilter/nf_conntrack_netlink.c). Pure: bytes in, fields out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "model/conntrack.h"

namespace weir::observe {

/// One message. An event carries only what has changed; what it leaves out is absent here.
struct ConntrackMessage {
  bool destroyed = false;       ///< the entry has left the table
  model::ConntrackEntry entry;  ///< `netns` is the reader's to fill in
  std::optional<std::uint32_t> status;
  std::optional<std::uint32_t> mark;
};

/// Whether it is about an entry of the table (not about expectations, and no answer of another subsystem).
bool is_conntrack(std::span<const std::byte> message);

/// Reads one whole message, header included. Errc::failed for one that is torn or has no original tuple. Allocates
/// nothing: tables have a hundred thousand entries.
Result<ConntrackMessage> parse_conntrack(std::span<const std::byte> message);

}  // namespace weir::observe
