#include "reason/explain/blame_flow.h"

#include <algorithm>
#include <limits>

namespace weir::explain {

namespace {

constexpr std::uint32_t nowhere = std::numeric_limits<std::uint32_t>::max();
/// Of what is left over at an entity, so much may go to ones that no edge leads to.
constexpr double proposed_limit = 0.7;
constexpr double handed_on = 0.99;
constexpr int longest_walk = 64;
constexpr double negligible = 1e-9;

/// Where the blame that reached `at` from `came_from` goes; the parts add up to at most 1.
void next_shares(const std::vector<Share>& all, std::uint32_t came_from, std::uint32_t start,
                 std::vector<Share>& result) {
  result.clear();
  double known = 0;
  double proposed = 0;
  for (const Share& share : all) {
    if (share.to == came_from || share.to == start || share.part <= 0) continue;
    result.push_back(share);
    (share.proposed ? proposed : known) += share.part;
  }
  const double shrink = known > 1 ? 1 / known : 1;
  const double room = proposed_limit * (1 - std::min(1.0, known));
  const double shrink_proposed = proposed > room ? room / proposed : 1;
  for (Share& share : result) share.part *= share.proposed ? shrink_proposed : shrink;
}

}  // namespace

Blame follow_blame(const Shares& shares, std::uint32_t start) {
  Blame blame;
  blame.kept.assign(shares.size(), 0);
  // Keyed by (came from, at).
  std::map<std::pair<std::uint32_t, std::uint32_t>, double> walkers{{{nowhere, start}, 1.0}};
  std::vector<Share> next;
  for (int step = 0; step < longest_walk && !walkers.empty(); ++step) {
    std::map<std::pair<std::uint32_t, std::uint32_t>, double> arrived;
    for (const auto& [state, amount] : walkers) {
      const auto [came_from, at] = state;
      next_shares(shares[at], came_from, start, next);
      double left = amount;
      for (const Share& share : next) {
        const double part = amount * share.part * handed_on;
        if (part < negligible) continue;
        left -= part;
        arrived[{at, share.to}] += part;
        auto& passed = blame.passed[{at, share.to}];
        passed.first += part;
        passed.second = share.proposed;
      }
      blame.kept[at] += left;
    }
    walkers = std::move(arrived);
  }
  for (const auto& [state, amount] : walkers) blame.kept[state.second] += amount;
  return blame;
}

}  // namespace weir::explain
