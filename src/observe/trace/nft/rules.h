// The rules of an NftTraceSwitch, in the words of nft(8) and as the kernel wants them. Pure.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "observe/trace/nft/switch.h"
#include "sys/netlink.h"

namespace weir::observe {

/// A part of a rule: what nft(8) calls it, and the expressions that the kernel executes.
struct NftPiece {
  std::string text;
  std::function<void(sys::NetlinkRequest&)> put;
};

/// A rule: its pieces from left to right.
using NftRule = std::vector<NftPiece>;

/// Which packets: rules of which any may match, each ending with a jump to `chain`. Errc::usage for wrong options.
Result<std::vector<NftRule>> matching_rules(const NftTraceOptions& options, const std::string& chain);

/// What is done with them.
NftRule marking_rule(const NftTraceOptions& options);

/// The rule as nft(8) writes it.
std::string to_text(const NftRule& rule);

}  // namespace weir::observe
