// RTM_GETQDISC and RTM_GETTFILTER: queueing disciplines and filters.
#pragma once

#include <cstdint>
#include <vector>

#include "model/device.h"
#include "sys/netlink.h"

namespace weir::observe::config {

/// A qdisc with the device it stands on and, of mqprio and taprio, the traffic classes.
struct DeviceQdisc {
  std::uint32_t ifindex = 0;
  model::Qdisc qdisc;
  std::vector<model::TrafficClass> traffic_classes;
  std::vector<std::uint8_t> prio_to_class;
};

/// Read one message each; pure, for tests and fuzzing. parse_filter() gives nothing for what the kernel lists beside
/// the filters themselves: the head of a priority and the hash tables of u32.
Result<DeviceQdisc> parse_qdisc(const sys::NetlinkMessage& message);
Result<std::optional<model::TcFilter>> parse_filter(const sys::NetlinkMessage& message, model::TcFilter::Hook hook);

/// Every qdisc of the socket's namespace, in the kernel's order.
Result<std::vector<DeviceQdisc>> read_qdiscs(sys::NetlinkSocket& socket);

/// The filters of a device, as far as its qdiscs can have any; what could not be read goes to device.unread.
void read_filters(sys::NetlinkSocket& socket, model::DeviceConfig& device);

}  // namespace weir::observe::config
