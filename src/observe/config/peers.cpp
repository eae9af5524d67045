#include "observe/config/peers.h"

#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <tuple>

#include "observe/config/links.h"

namespace weir::observe::config {

namespace {

constexpr sys::AttrRule kNsidPolicy[] = {{NETNSA_NSID, sys::AttrKind::s32}};

model::NetnsRef ref_of(const netns::Entry& entry) {
  return {entry.id, entry.display()};
}

}  // namespace

std::vector<const netns::Entry*> PeerResolver::candidates() const {
  std::vector<const netns::Entry*> order;
  for (const netns::Entry& entry : everywhere_) order.push_back(&entry);
  const auto rank = [&](const netns::Entry* entry) {
    const auto known = hits_.find(entry->id);
    const std::size_t hits = known == hits_.end() ? 0 : known->second;
    return std::tuple(hits, entry->initial);
  };
  std::ranges::sort(order, std::greater{}, rank);
  return order;
}

std::optional<std::int32_t> PeerResolver::ask(sys::NetlinkSocket& socket, const netns::Entry& entry) {
  const auto ns = netns::open(entry);
  if (!ns) return std::nullopt;
  auto request = sys::NetlinkRequest(RTM_GETNSID, 0, rtgenmsg{});
  request.u32(NETNSA_FD, static_cast<std::uint32_t>(ns->fd()));
  const auto answer = socket.request(request, "nsid");
  if (!answer) return std::nullopt;
  for (const sys::NetlinkMessage& message : *answer) {
    const auto attributes = message.attributes<rtgenmsg>(kNsidPolicy);
    if (attributes && attributes->has(NETNSA_NSID)) return attributes->s32(NETNSA_NSID);
  }
  return std::nullopt;
}

std::optional<model::NetnsRef> PeerResolver::find(std::uint64_t here, sys::NetlinkSocket& socket, std::int32_t nsid) {
  if (const auto known = found_.find({here, nsid}); known != found_.end()) {
    ++hits_[known->second.id];
    return known->second;
  }
  for (const netns::Entry* entry : candidates()) {
    const auto number = ask(socket, *entry);
    if (!number || *number < 0) continue;
    found_[{here, *number}] = ref_of(*entry);
    if (*number != nsid) continue;
    ++hits_[entry->id];
    return ref_of(*entry);
  }
  return std::nullopt;
}

std::string PeerResolver::device_name(const model::NetnsRef& ns, std::uint32_t ifindex) {
  const auto entry = std::ranges::find(everywhere_, ns.id, &netns::Entry::id);
  if (entry == everywhere_.end()) return {};
  const auto held = netns::open(*entry);
  if (!held) return {};
  auto fd = netns::open_socket(*held, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  if (!fd) return {};
  auto socket = sys::NetlinkSocket::adopt(std::move(*fd));
  if (!socket) return {};
  return link_name(*socket, ifindex).value_or("");
}

}  // namespace weir::observe::config
