// The public header, and what only Weir's own modules use of it.
#pragma once

#include "base/result.h"
#include "sys/fd.h"
#include "sys/netlink.h"
#include "weir/netns.h"

namespace weir::netns {

/// A netlink socket in `ns`; it stays there, so the thread need not go there again to use it.
Result<sys::NetlinkSocket> open_netlink(const Netns& ns, int protocol);

}  // namespace weir::netns
