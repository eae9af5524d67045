#include "observe/flows/flow_keys.h"

#include <algorithm>

namespace weir::observe {

namespace {

model::FlowTuple tuple_of(const weir_flow_tuple& raw) {
  model::FlowTuple tuple;
  std::ranges::copy(raw.source, tuple.source.begin());
  std::ranges::copy(raw.destination, tuple.destination.begin());
  tuple.source_port = raw.source_port;
  tuple.destination_port = raw.destination_port;
  tuple.ethertype = raw.ethertype;
  tuple.protocol = raw.protocol;
  return tuple;
}

}  // namespace

model::FlowKey flow_key(const weir_flow_id& id) {
  model::FlowKey key;
  key.netns = id.netns;
  key.ifindex = id.ifindex;
  key.direction = flow_direction(id.direction);
  key.vlan = id.vlan;
  std::ranges::copy(id.source, key.tuple.source.begin());
  std::ranges::copy(id.destination, key.tuple.destination.begin());
  key.tuple.source_port = id.source_port;
  key.tuple.destination_port = id.destination_port;
  key.tuple.ethertype = id.ethertype;
  key.tuple.protocol = id.protocol;
  return key;
}

model::FlowNat flow_nat(const weir_flow_nat& nat) {
  return {.original = tuple_of(nat.original), .reply = tuple_of(nat.reply), .zone = nat.zone, .mark = nat.mark};
}

}  // namespace weir::observe
