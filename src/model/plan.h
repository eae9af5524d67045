// Plans: lists of reversible changes to the system. Shown first, applied only on request, undone exactly.
#pragma once

#include <string>
#include <vector>

#include "model/entity.h"

namespace weir::model {

/// One reversible change, in words and as the shell command a person would type for the same effect.
struct PlanStep {
  std::string what;          ///< "add a clsact qdisc to weir-host/nic0"
  std::string command;       ///< "tc -n weir-host qdisc add dev nic0 clsact"
  std::string undo_command;  ///< "tc -n weir-host qdisc del dev nic0 clsact"
};

struct Plan {
  std::string kind;  ///< "queues-fix"
  DeviceRef subject;
  std::string title;
  std::vector<PlanStep> steps;  ///< in the order of applying; undone in reverse
  std::string expected_effect;  ///< what should be seen afterwards
  std::vector<std::string> warnings;
};

/// Why no plan is made, and what to do instead.
struct Refusal {
  std::string reason;
  std::string instead;
};

}  // namespace weir::model
