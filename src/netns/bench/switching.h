// What it costs to be elsewhere: the decision, the switch, and the switch alone without the library.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "netns/bench/ratio.h"
#include "netns/netns.h"

namespace weir::netns::bench {

struct SwitchCost {
  std::size_t namespaces = 0;
  double p50_ns = 0;  ///< a sticky visit elsewhere, with all bookkeeping
  double p99_ns = 0;
  double setns_p50_ns = 0;  ///< setns(2) to the same places in the same order
  double setns_p99_ns = 0;
  double getppids = 0;  ///< p50_ns in units of a getppid
};

struct Switching {
  double decision_ns = 0;     ///< whether the thread is there, above an empty loop
  double scope_there_ns = 0;  ///< a whole scope where the thread is already, above an empty loop
  double getppid_ns = 0;
  std::vector<SwitchCost> rows;  ///< by number of namespaces, ascending
  double flatness = 1;           ///< the largest p50_ns of the rows over the smallest
};

struct SwitchingPlan {
  int rounds = 21;
  int visits = 2000;      ///< timed one by one, in a round, for each number of namespaces
  int loops = 1'000'000;  ///< of the decision, in a round
  std::uint64_t seed = 1;
};

/// How many namespaces the rows are measured among when there are `most`: 1, 16, 64, 512, 1024, then in tens.
std::vector<std::size_t> switch_counts(std::size_t most);

/// Measures on the calling thread, which should be a pinned worker; it is at home afterwards. No two visits that follow
/// each other are to the same namespace, so that each is a switch; among one means to it and home by turns.
Result<Switching> measure_switching(std::span<const Netns> places, const SwitchingPlan& plan, const Stop& stop);

/// Sticky visits among `places` in a fixed shuffled order, for in_getppids(). `places` must outlive it.
Result<Repeat> visiting(std::span<const Netns> places, std::uint64_t seed);

}  // namespace weir::netns::bench
