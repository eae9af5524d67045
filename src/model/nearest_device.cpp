#include "model/nearest_device.h"

namespace weir::model {

FlowDirection direction_of(const Flow& flow, FlowSide side) {
  switch (side) {
    case FlowSide::inside:
      return flow.key.direction;
    case FlowSide::port:
      return other(flow.key.direction);
    case FlowSide::passing:
      return FlowDirection::tx;
  }
  return flow.key.direction;
}

FlowTuple before_nat(const Flow& flow) {
  if (!flow.nat || !flow.nat->rewrites()) return flow.key.tuple;
  const FlowNat& nat = *flow.nat;
  if (flow.key.tuple == nat.reply.reversed()) return nat.original;
  if (flow.key.tuple == nat.reply) return nat.original.reversed();
  return flow.key.tuple;
}

}  // namespace weir::model
