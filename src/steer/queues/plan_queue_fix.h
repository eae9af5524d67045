// Plans the mitigation of recorded receive queues. Pure: a model in, a plan or a refusal out.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "model/finding.h"
#include "model/plan.h"
#include "model/queues.h"
#include "steer/executor.h"
#include "steer/tc.h"

namespace weir::steer {

/// model::Plan::kind of the mitigation, and the start of its journal's file names.
inline constexpr const char* kQueueFixPlan = "queues-fix";

/// Where the recorded queue is cleared.
enum class FixPlace : std::uint8_t {
  egress,   ///< at the NIC, for all packets that leave by it
  ingress,  ///< at the devices that the culprits' packets come in by
};

/// One filter to install.
struct FixTarget {
  model::DeviceRef device;
  TcHook hook = TcHook::egress;
  bool add_clsact = false;
  std::uint32_t preference = 0;
};

struct QueueFixPlan {
  model::Plan plan;
  std::vector<FixTarget> targets;
};

/// Makes the plan for `device`, or says why there is none and what to do instead. `findings` are the doctor's for this
/// observation. Refused: a finding that a recorded queue does not make, a healthy device, and every sign that
/// queue_mapping is used on purpose (multiq, mqprio, taprio, traffic classes, skbedit, bond and team, Cilium, AF_XDP).
std::variant<QueueFixPlan, model::Refusal> plan_queue_fix(const model::HostObservation& observation,
                                                          const std::vector<model::Finding>& findings,
                                                          const model::DeviceRef& device, FixPlace place);

/// The changes that carry a plan out, in order.
Changes changes_of(const QueueFixPlan& plan);

}  // namespace weir::steer
