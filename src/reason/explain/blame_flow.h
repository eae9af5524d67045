// Blame: a walk that starts with all of a symptom's change and hands shares of it on to what the change came from.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace weir::explain {

/// The part of an entity's change that another one accounts for.
struct Share {
  std::uint32_t to = 0;
  double part = 0;        ///< 0..1
  bool proposed = false;  ///< no edge of the graph says so
};

/// Who accounts for whose change; by entity. Parts of one entity may add up to more than 1 (calls in parallel): they
/// are then scaled down. Proposed ones get no more than what is left over by the others.
using Shares = std::vector<std::vector<Share>>;

struct Blame {
  std::vector<double> kept;  ///< by entity; adds up to 1
  /// What passed along an edge; the flag says that it is a proposed one.
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::pair<double, bool>> passed;
};

/// Follows the shares from `start`. What came from an entity never goes straight back to it, nor to `start`, so that
/// edges whose direction nobody knows do no harm, and cycles end: a little of what is handed on stays at each step.
Blame follow_blame(const Shares& shares, std::uint32_t start);

}  // namespace weir::explain
