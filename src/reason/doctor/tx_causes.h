// The cause of an uneven transmit side, decided in the order in which the kernel decides (netdev_core_pick_tx()).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/finding.h"
#include "reason/doctor/tx_view.h"

namespace weir::reason {

/// Why the packets of one device gather on few queues.
struct TxCause {
  std::string name{};       ///< as in DESIGN section 4: "recorded-rx-queue"
  bool recorded = false;    ///< a recorded receive queue chose, whoever read it: model::Finding::by_recorded_queue
  bool fault = true;        ///< false: a property of the load (few flows), not of the host
  double explained = 1;     ///< part of the imbalance that the cause's rule accounts for, 0..1
  double certainty = 1;     ///< what the way of knowing is worth: 1 seen exactly, less by elimination
  std::string because{};    ///< ends the title: "weir-host/tap0 records a receive queue in every packet"
  std::string mechanism{};  ///< the kernel's decision, one sentence
  std::vector<model::Culprit> culprits{};
  std::string changed_at{};
  std::string advice{};
  std::vector<model::Evidence> evidence{};
  std::vector<std::string> notes{};
};

/// The cause, or nothing when the spread is what it should be for these flows, CPUs and this configuration.
/// `view.ratio` is below the skew threshold.
std::optional<TxCause> decide_tx_cause(const TxView& view);

// The single deciders, in the order of asking. Each answers nothing when it is not the cause.
std::optional<TxCause> load_cause(const TxView& view);      ///< single-flow, few-flows
std::optional<TxCause> prio_map_cause(const TxView& view);  ///< prio-map
std::optional<TxCause> xps_cause(const TxView& view);       ///< xps, forwarding-cpu
std::optional<TxCause> recorded_cause(const TxView& view);  ///< recorded-rx-queue, driver-select-queue (recorded first)
std::optional<TxCause> driver_cause(const TxView& view);    ///< driver-select-queue

}  // namespace weir::reason
