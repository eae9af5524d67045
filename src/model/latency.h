// How long packets take for the stretches of their journeys.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "model/entity.h"
#include "model/trace.h"

namespace weir::model {

/// A part of a packet's way, by what it spends its time on.
enum class Stretch : std::uint8_t {
  qdisc,       ///< from the choice of the queue to the driver: waiting in the queueing discipline
  driver,      ///< from the driver's start to the other end of the pair, or until the driver has freed the packet
  softirq,     ///< from the backlog or GRO to the protocols: waiting for the softirq
  routing,     ///< from reception (or the end of PRE_ROUTING) to the decision where to
  netfilter,   ///< from the first to the last bracket of one hook of netfilter
  forwarding,  ///< from reception to the next device's queue in the same namespace, everything of IP in it
  socket,      ///< from the last hook of the kernel until the program reads
  total,       ///< from the first to the last hook
};
const char* to_string(Stretch stretch);

/// The times of one stretch at one device.
struct StretchTimes {
  Stretch stretch = Stretch::total;
  std::string hook;  ///< of netfilter: "PRE_ROUTING", …; else empty
  DeviceRef device;  ///< where the stretch begins
  DurationHistogram time;
};

/// "weir.trace_latency/1".
nlohmann::ordered_json latency_json(const std::vector<StretchTimes>& times, const TraceSummary& summary);

}  // namespace weir::model
