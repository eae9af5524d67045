// RTM_GETLINK: the devices of a namespace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/device.h"
#include "sys/netlink.h"

namespace weir::observe::config {

/// A device as rtnetlink gives it.
struct Link {
  model::DeviceConfig device;                  ///< without what other sources know
  std::uint32_t iflink = 0;                    ///< IFLA_LINK: the device below or at the other end, 0 for none
  std::optional<std::int32_t> iflink_netnsid;  ///< where that is, as this namespace numbers others; none: here
};

/// Reads one message; pure, for tests and fuzzing.
Result<Link> parse_link(const sys::NetlinkMessage& message);

/// All links, by ifindex, masters resolved to their kinds. `consistent` is false when the table changed while it was
/// read, each time.
Result<std::vector<Link>> read_links(sys::NetlinkSocket& socket, bool* consistent);

/// The name of one device; Errc::not_found when there is none.
Result<std::string> link_name(sys::NetlinkSocket& socket, std::uint32_t ifindex);

}  // namespace weir::observe::config
