// Findings: verdicts with their evidence (DESIGN sections 1 and 4).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/entity.h"

namespace weir::model {

/// How much a finding matters. `info` is worth knowing, `warning` costs performance, `critical` is why the host is
/// slow.
enum class Severity : std::uint8_t { info, warning, critical };
const char* to_string(Severity severity);

/// Who causes it, and how much of it (share of the affected packets, 0..1).
struct Culprit {
  EntityKind kind = EntityKind::dev;
  DeviceRef device;
  double share = 0;
};

/// One measured fact behind a finding.
struct Evidence {
  std::string what;
  double value = 0;
  std::string unit;  ///< "queues", "pct", "packets", …
  std::optional<double> expected;
};

/// How to mend it: the command, how to take it back, and what to do where no command can (`advice`).
struct Fix {
  std::string command;
  std::string undo;
  std::string advice;
};

struct Finding {
  std::string id;  ///< as in the table of DESIGN section 4: "tx-queue-collapse"
  Severity severity = Severity::info;
  std::string title;      ///< one line
  std::string cause;      ///< as in the same table: "recorded-rx-queue"
  std::string mechanism;  ///< the kernel's decision behind it, one sentence
  EntityKind subject_kind = EntityKind::nic;
  DeviceRef subject;
  std::vector<Culprit> culprits;  ///< largest share first
  std::vector<Evidence> evidence;
  std::string changed_at;  ///< "between tun receive and nf PRE_ROUTING"; empty where it does not apply
  double confidence = 0;   ///< 0..1
  Fix fix;
  /// A recorded receive queue chose the transmit queue, read by the core or by the driver: clearing it mends.
  bool by_recorded_queue = false;
  std::vector<std::string> notes;  ///< what else a reader should know; what could not be seen
  /// The docs page: docs/findings/ID.md.
  [[nodiscard]] std::string docs() const { return "docs/findings/" + id + ".md"; }
};

}  // namespace weir::model
