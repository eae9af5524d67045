// A trace message of nftables as a record of a recording. Pure: bytes in, fields out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "observe/trace/nft/message.h"

namespace weir::observe {

/// A message and where it was heard.
struct NftHeard {
  std::uint64_t netns = 0;
  NftTraceMessage message;
};

/// As docs/recordings.md has it. What the kernel says of the connection is left out: events have that.
std::vector<std::byte> store_nft_trace(std::uint64_t netns, const NftTraceMessage& message);

/// Errc::failed for a record that is shorter than it says. What a later version adds behind is passed over.
Result<NftHeard> read_stored_nft_trace(std::span<const std::byte> record);

}  // namespace weir::observe
