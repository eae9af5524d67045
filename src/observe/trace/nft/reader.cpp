#include "observe/trace/nft/reader.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "observe/trace/nft/switch.h"
#include "sys/clock.h"

namespace weir::observe {

namespace {

constexpr int kReceiveBytes = 8 * 1024 * 1024;
constexpr std::size_t kMessageBytes = 64 * 1024;  // the kernel's messages are below a page

}  // namespace

Result<NftTraceReader> NftTraceReader::open(const netns::Netns& ns) {
  auto fd = netns::open_socket(ns, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_NETFILTER);
  if (!fd) {
    Error error = std::move(fd).error();
    if (error.sys_errno == EPROTONOSUPPORT) error.code = Errc::unsupported;
    return std::unexpected(std::move(error));
  }
  // Beyond net.core.rmem_max, which needs CAP_NET_ADMIN in the initial user namespace; else as much as is allowed.
  if (setsockopt(fd->get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBytes, sizeof kReceiveBytes) != 0) {
    static_cast<void>(setsockopt(fd->get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBytes, sizeof kReceiveBytes));
  }
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  if (bind(fd->get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) {
    return fail_errno(errno, "binding the nftables trace socket");
  }
  const int group = NFNLGRP_NFTRACE;
  if (setsockopt(fd->get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
    return fail_errno(errno, "joining the nftables trace group");
  }
  NftTraceReader reader(std::move(*fd));
  reader.buffer_.resize(kMessageBytes);
  return reader;
}

Result<std::size_t> NftTraceReader::read(const std::function<void(const NftTraceMessage&)>& each) {
  std::size_t given = 0;
  for (;;) {
    sockaddr_nl from{};
    socklen_t size = sizeof from;
    const ssize_t got =
        recvfrom(fd_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC, reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return given;
    if (got < 0 && errno == ENOBUFS) {
      ++overruns_;
      carrier_->forget();
      continue;
    }
    if (got < 0) return fail_errno(errno, "reading nftables trace messages");
    if (from.nl_pid != 0) continue;  // somebody else's, not the kernel's
    if (static_cast<std::size_t>(got) > buffer_.size()) {
      ++malformed_;
      continue;
    }
    given += take(std::span(buffer_).first(static_cast<std::size_t>(got)), each);
  }
}

std::size_t NftTraceReader::take(std::span<const std::byte> block,
                                 const std::function<void(const NftTraceMessage&)>& each) {
  const auto now = static_cast<std::uint64_t>(sys::SystemClock().monotonic().count());
  std::size_t given = 0;
  while (block.size() >= NLMSG_HDRLEN) {
    nlmsghdr header{};
    std::memcpy(&header, block.data(), sizeof header);
    if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > block.size()) {
      ++malformed_;
      break;
    }
    const sys::NetlinkMessage message(block.first(header.nlmsg_len));
    block = block.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), block.size()));
    if (!is_nft_trace(message)) continue;
    auto trace = parse_nft_trace(message);
    if (!trace) {
      ++malformed_;
      continue;
    }
    if (NftTraceSwitch::is_own_table(trace->verdict.table)) continue;
    trace->time_ns = now;
    static_cast<void>(carrier_->complete(*trace));
    each(*trace);
    ++given;
  }
  return given;
}

}  // namespace weir::observe
