// The kernel's flow identities as the model's, and as keys of hash tables.
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>

#include "model/flow.h"
#include "observe/flows/bpf/flows_abi.h"

namespace weir::observe {

/// Of enum weir_direction.
inline model::FlowDirection flow_direction(std::uint32_t direction) {
  return direction == WEIR_TX ? model::FlowDirection::tx : model::FlowDirection::rx;
}
model::FlowKey flow_key(const weir_flow_id& id);
model::FlowNat flow_nat(const weir_flow_nat& nat);

/// A connection that is over, or nearly so.
inline bool tcp_is_closing(std::uint8_t flags) {
  constexpr std::uint8_t kFinOrRst = 1U | 4U;
  return (flags & kFinOrRst) != 0;
}

struct FlowIdHash {
  std::size_t operator()(const weir_flow_id& id) const noexcept {
    return std::hash<std::string_view>{}(std::string_view(reinterpret_cast<const char*>(&id), sizeof id));
  }
};
struct FlowIdEqual {
  bool operator()(const weir_flow_id& a, const weir_flow_id& b) const noexcept {
    return std::memcmp(&a, &b, sizeof a) == 0;
  }
};

}  // namespace weir::observe
