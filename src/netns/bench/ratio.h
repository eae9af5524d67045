// The cost of an operation in units of a system call that does nothing, so that it can be compared between runs and, a
// little, between machines: clock speed, mitigations and a busy neighbour are in both.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "netns/bench/worker.h"

namespace weir::netns::bench {

/// Does something that often.
using Repeat = std::function<void(int times)>;

struct RatioPlan {
  int rounds = 121;
  int slices = 24;      ///< of each operation in a round
  int operations = 64;  ///< in a slice: about 100 us, so that most slices meet no interrupt
  int getppids = 512;   ///< in the slice beside it
};

/// Costs in getppids.
struct InGetppids {
  /// For each operation its samples, one a round: the median over the round's calm slices.
  std::vector<std::vector<double>> samples;
  double getppid_ns = 0;  ///< in the calm
};

/// A slice of every operation and one of getppid stand next to each other, the operations in turning order. Of these,
/// slices count where the getppids before and after were within 3 % of the quickest ones: a neighbour on the same core
/// makes a switch and a getppid dearer by a third, but not by the same third. Rounds without calm slices give no
/// sample, unless nearly all are like that: then all count.
InGetppids in_getppids(std::span<const Repeat> operations, const RatioPlan& plan, const Stop& stop);

/// ns of one getppid, now.
double getppid_ns(int times);

}  // namespace weir::netns::bench
