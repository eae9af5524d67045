// The kernel's numbers in events, in words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir::model {

/// CHECKSUM_* of skb->ip_summed: "none", "unnecessary", "complete", "partial".
const char* checksum_text(std::uint8_t ip_summed);

/// The IPS_* bits of a connection (include/uapi/linux/netfilter/nf_conntrack_common.h): "seen-reply", "assured", …
std::vector<std::string> conntrack_status_words(std::uint32_t status);

}  // namespace weir::model
