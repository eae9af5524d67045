#include "reason/doctor/tx_scope.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "reason/doctor/thresholds.h"

namespace weir::reason {

namespace {

using model::DeviceConfig;
using model::DeviceObservation;
using model::DeviceRef;
using model::HostObservation;

// tun_select_queue() follows the flow table that the guest's own sending fills: uneven on purpose.
constexpr std::array<std::string_view, 2> kNeverJudged = {"bridge", "tun"};

bool queue_choice_matters(const DeviceConfig& config) {
  if (config.loopback || std::ranges::find(kNeverJudged, config.link_kind) != kNeverJudged.end()) return false;
  if (config.driver == "tun" || config.real_tx_queues < 2) return false;
  return !config.bus_info.empty() || config.root_qdisc() != "noqueue" || config.link_kind == "veth";
}

bool unqueued_veth(const DeviceConfig& config) {
  return config.link_kind == "veth" && config.bus_info.empty() && config.root_qdisc() == "noqueue";
}

/// Share of the device's packets that came in by `device`, or by the bridge or bond that it is a port of.
double share_from(const HostObservation& host, const DeviceObservation& out, const DeviceRef& device) {
  const DeviceConfig* config = host.config.find(device);
  double from = 0;
  double all = 0;
  for (const model::QueueWindow& window : out.windows) {
    for (const model::OriginCount& origin : window.sample.origins) {
      const auto sampled = static_cast<double>(origin.sampled());
      const bool by_master = config != nullptr && config->master != 0 && origin.origin.netns == device.netns &&
                             origin.origin.ifindex.value == config->master;
      all += sampled;
      if (origin.origin == device || by_master) from += sampled;
    }
  }
  return all > 0 ? from / all : 0;
}

std::uint64_t tx_bytes(const DeviceObservation& device) {
  std::uint64_t bytes = 0;
  for (const model::QueueWindow& window : device.windows) {
    for (const model::QueueCount& count : window.tx) bytes += count.bytes;
  }
  return bytes;
}

// The pod's eth0 whose peer's packets leave by the NIC: the NIC's verdict speaks of it.
bool is_hop_of(const HostObservation& host, const DeviceObservation& device, const DeviceObservation& out) {
  if (out.device.netns == device.device.netns) return false;
  // Packets may be accounted to the device in the pod as well as to its end on the host.
  if (share_from(host, out, device.device) >= thresholds::kTransitShare) return true;
  const auto peer = peer_of(host.config, device.device);
  return peer && out.device != *peer && share_from(host, out, *peer) >= thresholds::kTransitShare;
}

// Two devices that forward to each other: the one with less to carry is the way back of the same conversations.
bool is_way_back_of(const HostObservation& host, const DeviceObservation& device, const DeviceObservation& out) {
  return share_from(host, device, out.device) >= 0.5 &&
         share_from(host, out, device.device) >= thresholds::kTransitShare && tx_bytes(device) < tx_bytes(out);
}

}  // namespace

std::optional<DeviceRef> peer_of(const model::HostConfig& host, const DeviceRef& device) {
  const DeviceConfig* config = host.find(device);
  if (config != nullptr && config->peer) return config->peer;
  for (const DeviceConfig& other : host.devices) {
    if (other.peer && *other.peer == device) return other.ref;
  }
  return std::nullopt;
}

std::vector<const DeviceObservation*> judged_transmitters(const HostObservation& host) {
  std::vector<const DeviceObservation*> candidates;
  for (const DeviceObservation& device : host.devices) {
    const DeviceConfig* config = host.config.find(device.device);
    if (config != nullptr && !device.vanished && queue_choice_matters(*config)) candidates.push_back(&device);
  }
  std::vector<const DeviceObservation*> judged;
  for (const DeviceObservation* device : candidates) {
    const bool on_the_way =
        unqueued_veth(*host.config.find(device->device)) &&
        std::ranges::any_of(candidates, [&](const DeviceObservation* out) {
          return out != device && (is_hop_of(host, *device, *out) || is_way_back_of(host, *device, *out));
        });
    if (!on_the_way) judged.push_back(device);
  }
  return judged;
}

}  // namespace weir::reason
