#include "model/trace.h"

namespace weir::model {

const char* to_string(JourneyEnd end) {
  switch (end) {
    case JourneyEnd::unknown:
      break;
    case JourneyEnd::dropped:
      return "dropped";
    case JourneyEnd::consumed:
      return "consumed";
    case JourneyEnd::delivered:
      return "delivered";
    case JourneyEnd::arrived:
      return "arrived";
    case JourneyEnd::merged:
      return "merged";
  }
  return "unknown";
}

HookAccount& HookAccount::operator+=(const HookAccount& other) {
  seen += other.seen;
  emitted += other.emitted;
  filtered += other.filtered;
  sampled_out += other.sampled_out;
  lost += other.lost;
  missed += other.missed;
  return *this;
}

HookAccount TraceSummary::total() const {
  HookAccount sum;
  for (const auto& [name, account] : hooks) sum += account;
  return sum;
}

}  // namespace weir::model
