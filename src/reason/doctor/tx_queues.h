// The symptoms tx-queue-collapse and tx-queue-skew.
#pragma once

#include <vector>

#include "model/finding.h"
#include "model/queues.h"

namespace weir::reason {

/// A finding and how many packets a second it concerns, for ranking.
struct Ranked {
  model::Finding finding;
  double packets_per_second = 0;
};

/// Devices whose packets gather on too few of their transmit queues.
std::vector<Ranked> find_uneven_tx(const model::HostObservation& host);

/// Hardware that has several queues and uses one (cause one-active-queue).
std::vector<Ranked> find_one_active_queue(const model::HostObservation& host);

}  // namespace weir::reason
