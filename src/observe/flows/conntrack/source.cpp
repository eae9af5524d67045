#include "observe/flows/conntrack/source.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace weir::observe {

namespace {

constexpr int kReceiveBytes = 8 * 1024 * 1024;
constexpr std::size_t kBlockBytes = 64 * 1024;
constexpr std::size_t kMostEventsAtOnce = 131'072;
constexpr timeval kPatience{.tv_sec = 5, .tv_usec = 0};

Result<sys::Fd> open_netfilter(const netns::Netns& ns, int flags) {
  auto fd = netns::open_socket(ns, AF_NETLINK, SOCK_RAW | flags, NETLINK_NETFILTER);
  if (!fd) return fd;
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  if (::bind(fd->get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) {
    return fail_errno(errno, "binding a conntrack socket");
  }
  return fd;
}

Result<void> subscribe(const sys::Fd& fd) {
  // Beyond net.core.rmem_max, which needs CAP_NET_ADMIN in the initial user namespace; else as much as is allowed.
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBytes, sizeof kReceiveBytes) != 0) {
    static_cast<void>(::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBytes, sizeof kReceiveBytes));
  }
  for (const int group : {NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_UPDATE, NFNLGRP_CONNTRACK_DESTROY}) {
    if (::setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
      return fail_errno(errno, "joining conntrack's events");
    }
  }
  return {};
}

}  // namespace

Result<ConntrackSource> ConntrackSource::open(const netns::Netns& ns) {
  auto changes = open_netfilter(ns, SOCK_NONBLOCK);
  if (!changes) return pass(std::move(changes));
  if (auto joined = subscribe(*changes); !joined) return pass(std::move(joined));
  auto requests = open_netfilter(ns, 0);
  if (!requests) return pass(std::move(requests));
  static_cast<void>(::setsockopt(requests->get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience));
  const auto mode = netns::read_sysctl(ns, "net/netfilter/nf_conntrack_events");
  ConntrackSource source(*std::move(requests), *std::move(changes), !mode || *mode != "0");
  source.buffer_.resize(kBlockBytes);
  return source;
}

Result<bool> ConntrackSource::take(std::span<const std::byte> block, const Visitor& each) {
  while (block.size() >= NLMSG_HDRLEN) {
    nlmsghdr header{};
    std::memcpy(&header, block.data(), sizeof header);
    if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > block.size()) {
      ++malformed_;
      return false;
    }
    const auto message = block.first(header.nlmsg_len);
    block = block.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), block.size()));
    if (header.nlmsg_type == NLMSG_DONE) return true;
    if (header.nlmsg_type == NLMSG_ERROR) {
      int err = EIO;
      if (message.size() >= NLMSG_HDRLEN + sizeof err) std::memcpy(&err, message.data() + NLMSG_HDRLEN, sizeof err);
      if (err == 0) return true;
      return fail_errno(err, "reading the conntrack table");
    }
    if (!is_conntrack(message)) continue;
    if (const auto parsed = parse_conntrack(message))
      each(*parsed);
    else
      ++malformed_;
  }
  return false;
}

Result<void> ConntrackSource::dump(const Visitor& each) {
  struct {
    nlmsghdr header{};
    nfgenmsg family{};
  } request;
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.header.nlmsg_seq = ++sequence_;
  request.family.nfgen_family = AF_UNSPEC;
  request.family.version = NFNETLINK_V0;
  if (::send(requests_.get(), &request, sizeof request, 0) < 0) return fail_errno(errno, "reading the conntrack table");
  for (;;) {
    const ssize_t got = ::recv(requests_.get(), buffer_.data(), buffer_.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "reading the conntrack table");
    auto ended = take(std::span(buffer_).first(static_cast<std::size_t>(got)), each);
    if (!ended) return pass(std::move(ended));
    if (*ended) return {};
  }
}

Result<bool> ConntrackSource::read_events(const Visitor& each) {
  bool complete = true;
  for (std::size_t read = 0; read < kMostEventsAtOnce; ++read) {
    sockaddr_nl from{};
    socklen_t size = sizeof from;
    const ssize_t got =
        ::recvfrom(changes_.get(), buffer_.data(), buffer_.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return complete;
    if (got < 0 && errno == ENOBUFS) {
      complete = false;
      continue;
    }
    if (got < 0) return fail_errno(errno, "reading conntrack's events");
    if (from.nl_pid != 0) continue;  // somebody else's, not the kernel's
    ++events_;
    auto taken = take(std::span(buffer_).first(static_cast<std::size_t>(got)), each);
    if (!taken) return taken;
  }
  return complete;
}

}  // namespace weir::observe
