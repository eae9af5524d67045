#include "reason/doctor/changed_at.h"

#include <fmt/format.h>

#include <algorithm>

#include "reason/doctor/thresholds.h"
#include "reason/doctor/tx_scope.h"
#include "reason/doctor/words.h"

namespace weir::reason {

namespace {

using model::DeviceConfig;
using model::DeviceRef;
using model::HostConfig;
using model::MappingChange;

// "nf:PRE_ROUTING@-300", "nf:PRE_ROUTING first": what follows the hook only orders the points of one hook.
std::string hook_name(const model::PathPoint& point) {
  return point.hook.substr(0, point.hook.find_first_of("@ "));
}

// The queue that an unwatched device of the path picked (a pod's veth).
bool is_pick(const model::PathPoint& point) {
  return hook_name(point) == "pick";
}

std::string on_device(const model::PathPoint& point) {
  return point.device.name.empty() ? "" : " on " + to_string(point.device);
}

bool is_tun(const DeviceConfig* config) {
  return config != nullptr && (config->link_kind == "tun" || config->driver == "tun");
}

bool is_veth(const DeviceConfig* config) {
  return config != nullptr && config->link_kind == "veth";
}

std::string queues_text(const std::vector<std::uint32_t>& queues) {
  if (queues.empty()) return "";
  return fmt::format(" (tx queue{} {})", queues.size() == 1 ? "" : "s", words::list_of(queues));
}

// What a device does before the first point where a packet can be looked at. veth carries the sender's queue_mapping
// over: tx queue k is read as "received on queue k-1" (veth_xmit(), raw value k on both sides).
std::string reception(const HostConfig& host, const DeviceRef& origin, const std::vector<std::uint32_t>& mappings) {
  if (origin.ifindex.value == 0) return "the local socket";
  const DeviceConfig* config = host.find(origin);
  if (is_tun(config)) return "tun receive";
  if (is_veth(config)) {
    const auto peer = peer_of(host, origin);
    const DeviceConfig* sender = peer ? host.find(*peer) : nullptr;
    // A sender without that queue cannot have chosen it: veth itself recorded it (edbea922025, 5.12 to 5.16).
    const bool possible = std::ranges::all_of(
        mappings, [&](std::uint32_t mapping) { return sender == nullptr || mapping < sender->real_tx_queues; });
    if (!possible) return "veth receive";
    return "the queue choice of " + (peer ? to_string(*peer) : "its veth peer") + queues_text(mappings);
  }
  if (config != nullptr && !config->driver.empty()) return config->driver + " receive";
  return "driver receive";
}

// Between the tracepoint and the first netfilter hook of IP stand generic XDP, tc ingress and netfilter ingress.
bool spans_tc_ingress(const MappingChange& change) {
  const std::string from = hook_name(change.from);
  const std::string to = hook_name(change.to);
  return from == "net:netif_receive_skb" && to != from &&
         (to.starts_with("nf:") || to.starts_with("tc") || to.starts_with("bridge"));
}

bool same_point(const model::PathPoint& a, const model::PathPoint& b) {
  return a.hook == b.hook && a.device == b.device;
}

// The values that packets got in the same place as those of `main`; strays left out.
std::vector<std::uint32_t> values_after(const model::DeviceObservation& seen, const MappingChange& main) {
  std::vector<std::uint32_t> values;
  for (const MappingChange& change : seen.changes) {
    const bool beside =
        change.origin == main.origin && same_point(change.from, main.from) && same_point(change.to, main.to);
    const bool counts =
        static_cast<double>(change.packets) >= thresholds::kMinCulpritPart * static_cast<double>(main.packets);
    if (beside && counts && change.after != 0) values.push_back(change.after);
  }
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

std::string between_points(const MappingChange& change) {
  // The two ends of tcf_classify(): filters and their actions are what is between.
  if (same_point(change.from, {"tc:ingress first", change.to.device}) && change.to.hook == "tc:ingress last")
    return "in a tc filter at ingress of " + to_string(change.to.device);
  if (same_point(change.from, {"tc:egress first", change.to.device}) && change.to.hook == "tc:egress last")
    return "in a tc filter at egress of " + to_string(change.to.device);
  const bool same = change.from.device == change.to.device || change.from.device.name.empty();
  if (same && hook_name(change.from) == hook_name(change.to)) {
    return fmt::format("between the first and the last {} hook{}", hook_name(change.to), on_device(change.to));
  }
  const std::string hint = spans_tc_ingress(change) ? " (tc ingress)" : "";
  return fmt::format("between {}{} and {}{}{}", hook_name(change.from), same ? "" : on_device(change.from),
                     hook_name(change.to), on_device(change.to), hint);
}

// The same packets may go by the port of a bridge or by the bridge, by the end of a veth pair or by the other.
bool same_packets(const HostConfig& host, const DeviceRef& device, const MappingChange& change) {
  if (device == change.origin || device == change.to.device) return true;
  const DeviceConfig* config = host.find(device);
  if (config != nullptr && config->master != 0 && change.origin.netns == device.netns &&
      change.origin.ifindex.value == config->master) {
    return change.to.device == device || change.from.device == device;
  }
  const auto peer = peer_of(host, device);
  return peer && (*peer == change.origin || *peer == change.to.device);
}

}  // namespace

std::optional<MappingChange> recording_change(const HostConfig& host, const model::DeviceObservation& seen,
                                              const DeviceRef& origin) {
  // A packet that was met only where it leaves says nothing of the place: it yields to a hundredth that was followed.
  const auto weight = [&seen](const MappingChange& change) {
    const bool met_late = change.from.hook.empty() && change.to.device == seen.device;
    return static_cast<double>(change.packets) * (met_late ? 0.01 : 1);
  };
  const MappingChange* best = nullptr;
  for (const MappingChange& change : seen.changes) {
    if (change.after == 0 || !same_packets(host, origin, change)) continue;
    if (best == nullptr || weight(change) > weight(*best)) best = &change;
  }
  if (best == nullptr) return std::nullopt;
  return *best;
}

std::vector<std::pair<DeviceRef, double>> bridge_ports(const HostConfig& host, const model::DeviceObservation& seen,
                                                       const DeviceRef& origin) {
  std::vector<std::pair<DeviceRef, double>> ports;
  double all = 0;
  for (const MappingChange& change : seen.changes) {
    if (change.after == 0 || change.origin != origin) continue;
    for (const model::PathPoint& point : {change.to, change.from}) {
      // A packet from a pod is changed by the pod's end of the pair; the port is the end on the bridge.
      const auto peer = peer_of(host, point.device);
      const DeviceConfig* port = host.find(point.device);
      if ((port == nullptr || port->ref.netns != origin.netns) && peer) port = host.find(*peer);
      if (port == nullptr || port->ref.netns != origin.netns || port->master != origin.ifindex.value) continue;
      auto row = std::ranges::find(ports, port->ref, &std::pair<DeviceRef, double>::first);
      if (row == ports.end()) row = ports.insert(ports.end(), {port->ref, 0.0});
      row->second += static_cast<double>(change.packets);
      all += static_cast<double>(change.packets);
      break;
    }
  }
  for (auto& [port, share] : ports) share /= all;
  return ports;
}

std::string changed_at(const HostConfig& host, const model::DeviceObservation& seen, const DeviceRef& origin) {
  const auto change = recording_change(host, seen, origin);
  if (!change) {
    return fmt::format("between {} on {} and the queue choice of {}", reception(host, origin, {}), to_string(origin),
                       to_string(seen.device));
  }
  const std::vector<std::uint32_t> values = values_after(seen, *change);
  constexpr const char* kCarried = ", carried over the veth pair and read as a recorded receive queue";
  if (is_pick(change->to)) {
    return fmt::format("between the queue choice of {}{} and net:netif_receive_skb on {}{}",
                       to_string(change->to.device), queues_text(values), to_string(origin), kCarried);
  }
  if (!change->from.hook.empty()) return between_points(*change);
  const std::string first =
      fmt::format("between {} and {}{}", reception(host, origin, values), hook_name(change->to), on_device(change->to));
  return first.contains("queue choice of") ? first + kCarried : first;
}

}  // namespace weir::reason
