// One transmitting device as the doctor looks at it: the judged windows, their spread, and who brought the imbalance.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "model/queues.h"
#include "reason/doctor/spread.h"

namespace weir::reason {

/// What one origin (receiving device, or the host itself) brings to the imbalance of a transmitting device.
struct OriginPart {
  model::OriginCount origin;
  double part = 0;  ///< of the excess of sum(p^2) over an even spread, 0..1; all origins together 1
};

struct TxView {
  const model::HostObservation* host = nullptr;
  const model::DeviceObservation* seen = nullptr;
  const model::DeviceConfig* config = nullptr;
  std::uint32_t queues = 1;                          ///< transmit queues in use (real_num_tx_queues)
  std::vector<const model::QueueWindow*> windows{};  ///< the judged ones: the last with enough packets
  double agreement = 0;                              ///< share of all windows with enough packets that are as uneven
  model::QueueWindow sum{};                          ///< of the judged windows
  double effective = 0;                              ///< N_eff of the sum
  double ratio = 0;                                  ///< N_eff/N of the mildest judged window
  std::uint32_t heaviest = 0;                        ///< queue
  double heaviest_share = 0;
  double rate_pps = 0;
  double heaviest_pps = 0;
  double heaviest_bps = 0;
  FlowMix flows{};
  double chance = 1;  ///< that hashing gives this, in the window that is likeliest
  std::vector<OriginPart> origins{};
  std::array<double, model::kQueueRuleCount> blame{};  ///< part of the imbalance by rule, 0..1

  [[nodiscard]] double rule_share(model::QueueRule rule) const;  ///< of the examined packets
  [[nodiscard]] double rule_blame(model::QueueRule rule) const { return blame[static_cast<std::size_t>(rule)]; }
  [[nodiscard]] double forwarded_share() const;  ///< of the examined packets, those that another device received
  [[nodiscard]] std::uint32_t cpus() const;      ///< online ones, at least as many as were seen to send
  [[nodiscard]] std::size_t queues_in_use() const;
  [[nodiscard]] bool heavy() const;  ///< the heaviest queue is near what one queue or CPU can do
};

/// The device with its judged windows, or nothing when too few windows hold enough packets. `chance` and `blame` are
/// filled only when the spread is below the skew threshold: they cost time and mean nothing on an even spread.
std::optional<TxView> view_tx(const model::HostObservation& host, const model::DeviceObservation& seen,
                              const model::DeviceConfig& config);

}  // namespace weir::reason
