#include "model/topology.h"

#include <string_view>

namespace weir::model {

namespace {

constexpr std::uint64_t kRoundsKept = 2;

DevicePlace place_of(const DeviceRef& ref) {
  return {ref.netns.id, ref.ifindex.value};
}

bool shares_lower(std::string_view kind) {
  return kind == "macvlan" || kind == "ipvlan" || kind == "macvtap" || kind == "ipvtap";
}

DeviceLinks links_of(const DeviceConfig& device) {
  DeviceLinks links;
  if (device.peer && device.link_kind == "veth") links.peer = place_of(*device.peer);
  if (device.lower && device.link_kind == "vlan") links.lower = place_of(*device.lower);
  if (device.lower && shares_lower(device.link_kind)) links.segment = place_of(*device.lower);
  links.above = device.link_kind == "bridge" || links.segment.has_value();
  links.vlan = device.vlan_id;
  if (device.link_kind == "vrf") links.vrf = device.ref.ifindex.value;
  const DevicePlace master{device.ref.netns.id, device.master};
  if (device.master == 0) return links;
  if (device.master_kind == "vrf")
    links.vrf = device.master;
  else if (device.master_kind == "bond" || device.master_kind == "team")
    links.bundle = master;
  else
    links.segment = master, links.above = false;
  return links;
}

}  // namespace

void Topology::learn(const HostConfig& config) {
  ++round_;
  for (const DeviceConfig& device : config.devices) devices_[place_of(device.ref)] = {links_of(device), round_};
  std::erase_if(devices_, [this](const auto& entry) { return entry.second.round + kRoundsKept < round_; });
}

const DeviceLinks* Topology::find(const DevicePlace& place) const {
  const auto found = devices_.find(place);
  return found == devices_.end() ? nullptr : &found->second.links;
}

}  // namespace weir::model
