// How unsteady traffic is at a millisecond: what the queues of a link see, and averages over a second do not.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "model/entity.h"

namespace weir::model {

/// Of the bytes of a device in each millisecond of a run (Millisampler, Ghabashneh et al., IMC 2022).
struct MillisecondBursts {
  std::optional<DeviceRef> device{};  ///< where it was measured: the workload's busiest one
  std::uint32_t milliseconds = 0;     ///< of the run
  std::uint64_t bytes = 0;
  double mean_bps = 0;
  double p99_bps = 0;
  double max_bps = 0;
  double p99_over_mean = 0;
  double bursts_per_s = 0;            ///< times it rose above twice its mean, after two milliseconds below its mean
  double idle_share = 0;              ///< milliseconds without a packet
  double variation = 0;               ///< standard deviation / mean
  std::optional<double> period_ms{};  ///< where the autocorrelation has its first peak that is nearly its highest
};

/// All 0 where there are no bytes.
MillisecondBursts millisecond_bursts(std::span<const std::uint32_t> bytes);

}  // namespace weir::model
