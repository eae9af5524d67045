// The model as JSON documents: the one place where keys are spelled (DESIGN section 4).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "model/capability.h"
#include "model/finding.h"
#include "model/namespaces.h"
#include "model/plan.h"
#include "model/queues.h"

namespace weir::model {

/// The text of a document; `indent` as nlohmann::json::dump() takes it, -1 for one line. Bytes that are not UTF-8 (a
/// device may be called almost anything) are replaced instead of ending the program.
std::string to_text(const nlohmann::ordered_json& document, int indent = 2);

/// "weir.capabilities/1".
nlohmann::ordered_json to_json(const Capabilities& capabilities);

/// The "plan" of a command that changes the system.
nlohmann::ordered_json to_json(const Plan& plan);

/// The "refusal" of such a command.
nlohmann::ordered_json to_json(const Refusal& refusal);

/// One element of "findings" in "weir.doctor/1".
nlohmann::ordered_json to_json(const Finding& finding);

/// The same as a line of its own, "weir.flow_finding/1".
std::string flow_finding_line(const Finding& finding);

/// "weir.doctor/1".
nlohmann::ordered_json doctor_json(const HostObservation& observation, const Capabilities& capabilities,
                                   const std::vector<Finding>& findings);

/// "weir.queues/1": `observations` with their configuration from `config`.
nlohmann::ordered_json queues_json(const HostConfig& config, const std::vector<DeviceObservation>& observations);

/// "workload" of namespaces and flows; what is not known is null.
nlohmann::ordered_json to_json(const WorkloadRef& workload);

/// "weir.netns/1".
nlohmann::ordered_json to_json(const NamespaceList& list);

/// "weir.netns_event/1", a line of a stream.
nlohmann::ordered_json to_json(const NamespaceEvent& event);

}  // namespace weir::model
