#include "model/finding.h"

namespace weir::model {

const char* to_string(EntityKind kind) {
  switch (kind) {
    case EntityKind::host:
      return "host";
    case EntityKind::cpu:
      return "cpu";
    case EntityKind::nic:
      return "nic";
    case EntityKind::dev:
      return "dev";
    case EntityKind::queue:
      return "queue";
    case EntityKind::qdisc:
      return "qdisc";
    case EntityKind::netns:
      return "netns";
    case EntityKind::workload:
      return "workload";
    case EntityKind::flow:
      return "flow";
    case EntityKind::listener:
      return "listener";
    case EntityKind::peer:
      break;
  }
  return "peer";
}

const char* to_string(Severity severity) {
  switch (severity) {
    case Severity::critical:
      return "critical";
    case Severity::warning:
      return "warning";
    case Severity::info:
      break;
  }
  return "info";
}

}  // namespace weir::model
