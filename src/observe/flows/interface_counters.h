// What interfaces themselves counted: the other side of the ledger.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/entity.h"
#include "sys/netlink.h"

namespace weir::observe {

/// IFLA_STATS64, of which only what carries bytes is read.
struct InterfaceCount {
  std::string kind;  ///< IFLA_INFO_KIND
  std::uint64_t rx_bytes = 0;
  std::uint64_t tx_bytes = 0;
  std::uint64_t rx_unsure = 0;  ///< how far off they may be, as the count of the moment that is meant
  std::uint64_t tx_unsure = 0;
};

/// By (namespace id, ifindex).
using InterfaceCounts = std::map<std::pair<std::uint64_t, std::uint32_t>, InterfaceCount>;

/// Reads the devices of a socket's namespace into `counts`.
Result<void> read_interface_counters(sys::NetlinkSocket& socket, std::uint64_t netns, InterfaceCounts& counts);

/// Of several namespaces. Those that cannot be entered any more are left out.
InterfaceCounts read_interface_counters(const std::vector<model::NetnsRef>& namespaces);

/// Whether an interface of this kind counts received packets without their link header: those that hand a packet on
/// after the header was taken off (br_pass_frame_up(), vlan_do_receive(), vxlan_rcv(), geneve_rx()).
bool counts_without_link_header(const std::string& kind);

/// Whether what an interface of this kind receives was received by a device below it, without passing the hook a second
/// time (another_round in __netif_receive_skb_core(); broadcasts of macvlan do pass it).
bool receives_from_below(const std::string& kind);

}  // namespace weir::observe
