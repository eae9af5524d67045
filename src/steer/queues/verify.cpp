#include "steer/queues/verify.h"

#include <fmt/format.h>

namespace weir::steer {

Effect judge_effect(const model::DeviceObservation& before, const model::DeviceObservation& after, std::uint32_t real) {
  const model::QueueWindow then = total(before.windows);
  const model::QueueWindow now = total(after.windows);
  Effect effect{.before = effective_queues(then.tx),
                .after = effective_queues(now.tx),
                .real = real,
                .packets_after = now.tx_packets(),
                .verdict = {}};
  const std::string name = to_string(before.device);
  if (after.vanished) {
    effect.verdict = name + " went away while the effect was measured";
    return effect;
  }
  if (effect.packets_after < verify_thresholds::kMinPackets) {
    effect.verdict = fmt::format("{} sent {} packets afterwards, too few to see the effect ({} are needed)", name,
                                 effect.packets_after, verify_thresholds::kMinPackets);
    return effect;
  }
  const double gap = real - effect.before;
  effect.improved = gap > 0 && effect.after - effect.before >= verify_thresholds::kMinGapClosed * gap;
  effect.verdict = fmt::format("{} used {:.2f} of {} transmit queues before and uses {:.2f} now{}", name, effect.before,
                               real, effect.after, effect.improved ? "" : ": no improvement");
  return effect;
}

}  // namespace weir::steer
