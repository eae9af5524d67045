#include "reason/doctor/changed_at.h"

#include <fmt/format.h>

#include <algorithm>

#include "reason/doctor/tx_scope.h"

namespace weir::reason {

namespace {

using model::DeviceConfig;
using model::DeviceRef;
using model::HostConfig;
using model::MappingChange;

// "nf:PRE_ROUTING@-300" without the priority, which only orders the points.
std::string hook_name(const model::PathPoint& point) {
  return point.hook.substr(0, point.hook.find('@'));
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

// What a device does before the first point where a packet can be looked at. veth carries the sender's queue_mapping
// over: tx queue k is read as "received on queue k-1" (veth_xmit(), raw value k on both sides).
std::string reception(const HostConfig& host, const DeviceRef& origin, std::uint32_t mapping) {
  if (origin.ifindex.value == 0) return "the local socket";
  const DeviceConfig* config = host.find(origin);
  if (is_tun(config)) return "tun receive";
  if (is_veth(config)) {
    const auto peer = peer_of(host, origin);
    const std::string queue = mapping > 0 ? fmt::format(" (tx queue {})", mapping) : "";
    return peer ? "the queue choice of " + to_string(*peer) + queue : "the queue choice of its veth peer" + queue;
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

std::string between_points(const MappingChange& change) {
  const bool same = change.from.device == change.to.device || change.from.device.name.empty();
  const std::string hint = spans_tc_ingress(change) ? " (tc ingress)" : "";
  return fmt::format("between {}{} and {}{}{}", hook_name(change.from), same ? "" : on_device(change.from),
                     hook_name(change.to), on_device(change.to), hint);
}

bool same_packets(const HostConfig& host, const DeviceRef& a, const DeviceRef& b) {
  if (a == b) return true;
  const auto peer = peer_of(host, a);
  return peer && *peer == b;
}

}  // namespace

std::optional<MappingChange> recording_change(const HostConfig& host, const model::DeviceObservation& seen,
                                              const DeviceRef& origin) {
  const MappingChange* best = nullptr;
  for (const MappingChange& change : seen.changes) {
    if (change.after == 0 || !same_packets(host, origin, change.origin)) continue;
    if (best == nullptr || change.packets > best->packets) best = &change;
  }
  if (best == nullptr) return std::nullopt;
  return *best;
}

std::string changed_at(const HostConfig& host, const model::DeviceObservation& seen, const DeviceRef& origin) {
  const auto change = recording_change(host, seen, origin);
  if (!change) {
    return fmt::format("between {} on {} and the queue choice of {}", reception(host, origin, 0), to_string(origin),
                       to_string(seen.device));
  }
  if (!change->from.hook.empty()) return between_points(*change);
  const std::string first = fmt::format("between {} and {}{}", reception(host, change->origin, change->after),
                                        hook_name(change->to), on_device(change->to));
  const bool veth = is_veth(host.find(change->origin));
  return veth ? first + ", carried over the veth pair and read as a recorded receive queue" : first;
}

}  // namespace weir::reason
