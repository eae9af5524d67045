// Whose trace message is this? Pure.
#pragma once

#include <cstddef>
#include <span>

#include "observe/trace/nft/message.h"

namespace weir::observe {

/// Whether the message's headers and `packet`, bytes from the network header on, belong to the same packet at the same
/// moment. What changes without making it another packet is passed over: TTL, DSCP and ECN, checksums. Compared is what
/// both sides have: a message without transport header (a later fragment), or a copy that ends before it, is compared
/// by the network header alone. A message without network header is nobody's.
[[nodiscard]] bool same_packet(const NftTraceMessage& message, std::span<const std::byte> packet);

}  // namespace weir::observe
