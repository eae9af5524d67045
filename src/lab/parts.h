// Lines of the tools' languages that every drawing of a lab needs.
#pragma once

#include <string>
#include <vector>

#include "lab/options.h"

namespace weir::lab {

/// One end of a veth pair.
struct VethEnd {
  std::string dev;
  std::string mac;
};

/// ip(8): a veth pair of `queues` queues whose other end is in `peer_netns`.
std::string veth_line(const VethEnd& end, const VethEnd& peer, const std::string& peer_netns, unsigned queues);

/// sh, before any device exists: only the family under test speaks, and nothing of its own accord.
std::vector<std::string> quiet_lines(Family family);

/// sh: packets of others are passed on.
std::string forwarding_line(Family family);

}  // namespace weir::lab
