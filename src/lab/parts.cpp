#include "lab/parts.h"

#include <fmt/format.h>

namespace weir::lab {

std::string veth_line(const VethEnd& end, const VethEnd& peer, const std::string& peer_netns, unsigned queues) {
  const std::string count = fmt::format("numtxqueues {0} numrxqueues {0}", queues);
  return fmt::format("link add {} address {} {} type veth peer name {} address {} {} netns {}", end.dev, end.mac, count,
                     peer.dev, peer.mac, count, peer_netns);
}

std::vector<std::string> quiet_lines(Family family) {
  std::vector<std::string> lines;
  // Neighbour discovery and the like would put packets of its own on the queues.
  if (family == Family::v4) {
    lines.emplace_back(
        "for c in all default; do f=/proc/sys/net/ipv6/conf/$c/disable_ipv6; [ ! -e $f ] || echo 1 >$f; done");
  } else {
    lines.emplace_back("for c in all default; do echo 0 >/proc/sys/net/ipv6/conf/$c/disable_ipv6; done");
    lines.emplace_back("for c in all default; do echo 0 >/proc/sys/net/ipv6/conf/$c/router_solicitations; done");
  }
  lines.emplace_back("for c in all default; do echo 0 >/proc/sys/net/ipv4/conf/$c/rp_filter; done");
  return lines;
}

std::string forwarding_line(Family family) {
  return family == Family::v4 ? "echo 1 >/proc/sys/net/ipv4/ip_forward"
                              : "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";
}

}  // namespace weir::lab
