// How devices hang together: which packets of one are the very packets of another, and which share a segment.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>

#include "model/device.h"

namespace weir::model {

/// A device by what identifies it.
struct DevicePlace {
  std::uint64_t netns = 0;
  std::uint32_t ifindex = 0;
  auto operator<=>(const DevicePlace&) const = default;
};

/// One device among the others.
struct DeviceLinks {
  std::optional<DevicePlace> peer;    ///< the other end of a veth pair: what this one sends, that one receives
  std::optional<DevicePlace> lower;   ///< of a VLAN device: what this one sends, that one sends, tagged
  std::optional<DevicePlace> bundle;  ///< the bond or team that it is a port of
  /// The bridge that it is a port of; of macvlan and ipvlan devices the lower one, on which they share a segment.
  std::optional<DevicePlace> segment;
  std::uint32_t vrf = 0;   ///< ifindex of the routing domain that it belongs to, 0: the namespace's own
  std::uint16_t vlan = 0;  ///< of a VLAN device: the tag that its packets have on `lower`
  /// Stands above its segment (a bridge on its own ports, a macvlan): what it sends, the segment receives. Of a port
  /// it is the other way round.
  bool above = false;
};

/// What one configuration after the other said. A device that is gone is known for as long as the next two were read:
/// its last packets are still to be explained.
class Topology {
 public:
  void learn(const HostConfig& config);
  /// nullptr: never seen, or gone for good.
  [[nodiscard]] const DeviceLinks* find(const DevicePlace& place) const;

 private:
  struct Known {
    DeviceLinks links;
    std::uint64_t round = 0;
  };
  std::map<DevicePlace, Known> devices_;
  std::uint64_t round_ = 0;
};

}  // namespace weir::model
