// Where the other end of a veth pair, or the device below a vlan, lives.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/entity.h"
#include "netns/netns.h"
#include "sys/netlink.h"

namespace weir::observe::config {

/// Turns the numbers that one namespace gives to others (nsid, RTM_GETNSID) into namespaces. The kernel answers only
/// "which number has this one?", so it asks for one namespace after the other until the number comes up: those that
/// answered before first, because most devices of a host lead to the same few.
class PeerResolver {
 public:
  explicit PeerResolver(const std::vector<netns::Entry>& everywhere) : everywhere_(everywhere) {}

  /// The namespace that `socket`'s namespace `here` numbers `nsid`; nullopt when none of the known ones.
  std::optional<model::NetnsRef> find(std::uint64_t here, sys::NetlinkSocket& socket, std::int32_t nsid);
  /// The name of a device there; empty when it has gone.
  std::string device_name(const model::NetnsRef& ns, std::uint32_t ifindex);

 private:
  std::optional<std::int32_t> ask(sys::NetlinkSocket& socket, const netns::Entry& entry);
  /// Entries of `everywhere_` in the order in which to ask.
  std::vector<const netns::Entry*> candidates() const;
  const std::vector<netns::Entry>& everywhere_;
  std::map<std::pair<std::uint64_t, std::int32_t>, model::NetnsRef> found_;
  std::map<std::uint64_t, std::size_t> hits_;
};

}  // namespace weir::observe::config
