#include "model/device.h"

#include <algorithm>

namespace weir::model {

namespace {
constexpr std::uint32_t kTcRoot = 0xFFFFFFFFU;  // TC_H_ROOT
}

bool DeviceConfig::has_xps() const {
  const auto used = [](const auto& maps) {
    return std::ranges::any_of(maps, [](const auto& members) { return !members.empty(); });
  };
  return used(xps_cpus) || used(xps_rxqs);
}

std::string DeviceConfig::root_qdisc() const {
  const auto root = std::ranges::find(qdiscs, kTcRoot, &Qdisc::parent);
  return root == qdiscs.end() ? "noqueue" : root->kind;
}

const DeviceConfig* HostConfig::find(const DeviceRef& ref) const {
  const auto found = std::ranges::find(devices, ref, &DeviceConfig::ref);
  return found == devices.end() ? nullptr : &*found;
}

}  // namespace weir::model
