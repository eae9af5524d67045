#include "sys/netlink.h"

#include <libmnl/libmnl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

namespace weir::sys {

namespace {

constexpr std::size_t kBufferBytes = 256 * 1024;  // links with hundreds of virtual functions answer in > 64 KiB
constexpr int kMostAttempts = 8;
constexpr std::array<AttrRule, 1> kAckPolicy{{{NLMSGERR_ATTR_MSG, AttrKind::string}}};

/// The text that the kernel attached to an error, empty when there is none.
std::string extended_ack(const nlmsghdr* header) {
  if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header));
  std::size_t skip = sizeof(nlmsgerr);
  // Without NLM_F_CAPPED the whole request stands between the error and the text.
  if ((header->nlmsg_flags & NLM_F_CAPPED) == 0) skip += NLMSG_ALIGN(error->msg.nlmsg_len) - sizeof(nlmsghdr);
  const std::span<const std::byte> payload(reinterpret_cast<const std::byte*>(error),
                                           mnl_nlmsg_get_payload_len(header));
  if (skip >= payload.size()) return {};
  const auto attributes = Attributes::parse(payload.subspan(skip), kAckPolicy);
  return attributes ? std::string(attributes->string(NLMSGERR_ATTR_MSG)) : std::string();
}

Error from_kernel(int err, const nlmsghdr* header, const std::string& what) {
  Error error = errno_error(err, what);
  if (const std::string text = extended_ack(header); !text.empty()) error.message += " (" + text + ")";
  return error;
}

}  // namespace

NetlinkRequest::NetlinkRequest(std::uint16_t type, std::uint16_t flags) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = flags | NLM_F_REQUEST;
  append(&header, sizeof header);
}

void NetlinkRequest::append(const void* data, std::size_t size) {
  const auto* begin = static_cast<const std::byte*>(data);
  bytes_.insert(bytes_.end(), begin, begin + size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

NetlinkRequest& NetlinkRequest::put(std::uint16_t type, const void* data, std::size_t size) {
  nlattr header{};
  header.nla_len = static_cast<std::uint16_t>(NLA_HDRLEN + size);
  header.nla_type = type;
  append(&header, sizeof header);
  append(data, size);
  return *this;
}

void NetlinkRequest::close_nest(std::size_t start) {
  const auto length = static_cast<std::uint16_t>(bytes_.size() - start);
  std::memcpy(bytes_.data() + start + offsetof(nlattr, nla_len), &length, sizeof length);
}

std::vector<std::byte> NetlinkRequest::finish(std::uint16_t more_flags, std::uint32_t sequence) const {
  std::vector<std::byte> message = bytes_;
  nlmsghdr header{};
  std::memcpy(&header, message.data(), sizeof header);
  header.nlmsg_len = static_cast<std::uint32_t>(message.size());
  header.nlmsg_flags |= more_flags;
  header.nlmsg_seq = sequence;
  std::memcpy(message.data(), &header, sizeof header);
  return message;
}

bool NetlinkRequest::wants_ack() const {
  nlmsghdr header{};
  std::memcpy(&header, bytes_.data(), sizeof header);
  return (header.nlmsg_flags & NLM_F_ACK) != 0;
}

nlmsghdr NetlinkMessage::header() const {
  nlmsghdr header{};
  std::memcpy(&header, bytes_.data(), std::min(sizeof header, bytes_.size()));
  return header;
}

std::span<const std::byte> NetlinkMessage::payload() const {
  return std::span(bytes_).subspan(std::min<std::size_t>(NLMSG_HDRLEN, bytes_.size()));
}

void NetlinkSocket::Closer::operator()(mnl_socket* socket) const {
  mnl_socket_close(socket);
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd.valid()) return fail_errno(errno, "netlink socket");
  return adopt(std::move(fd));
}

Result<NetlinkSocket> NetlinkSocket::adopt(Fd fd) {
  NetlinkSocket socket(mnl_socket_fdopen(fd.get()));
  if (!socket.socket_) return fail_errno(errno, "netlink socket");
  [[maybe_unused]] const int owned_by_socket = std::move(fd).release();
  if (mnl_socket_bind(socket.socket_.get(), 0, MNL_SOCKET_AUTOPID) != 0) return fail_errno(errno, "netlink bind");
  // Both only make errors clearer, so a kernel without them is fine.
  int on = 1;
  mnl_socket_setsockopt(socket.socket_.get(), NETLINK_EXT_ACK, &on, sizeof on);
  mnl_socket_setsockopt(socket.socket_.get(), NETLINK_CAP_ACK, &on, sizeof on);
  socket.buffer_.resize(kBufferBytes);
  return socket;
}

Result<bool> NetlinkSocket::take(std::span<const std::byte> block, std::uint32_t sequence, const std::string& what,
                                 std::vector<NetlinkMessage>* messages, bool* interrupted) {
  const auto* header = reinterpret_cast<const nlmsghdr*>(block.data());
  int left = static_cast<int>(block.size());
  for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
    if (header->nlmsg_seq != sequence) continue;  // the rest of an answer that was given up
    if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0) *interrupted = true;
    if (header->nlmsg_type == NLMSG_ERROR) {
      if (mnl_nlmsg_get_payload_len(header) < sizeof(nlmsgerr)) return fail(Errc::failed, what + ": torn answer");
      const int err = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header))->error;
      if (err != 0) return std::unexpected(from_kernel(err, header, what));
      return true;
    }
    if (header->nlmsg_type == NLMSG_DONE) {
      std::int32_t err = 0;  // a dump that fails midway says so here
      if (mnl_nlmsg_get_payload_len(header) >= sizeof err) {
        std::memcpy(&err, mnl_nlmsg_get_payload(header), sizeof err);
      }
      if (err < 0) return fail_errno(err, what);
      return true;
    }
    if (header->nlmsg_type >= NLMSG_MIN_TYPE) {
      messages->emplace_back(std::span(reinterpret_cast<const std::byte*>(header), header->nlmsg_len));
    }
  }
  return false;
}

Result<std::vector<NetlinkMessage>> NetlinkSocket::exchange(const NetlinkRequest& message, std::uint16_t flags,
                                                            const std::string& what, bool* interrupted) {
  const std::uint32_t sequence = ++sequence_;
  const auto bytes = message.finish(flags, sequence);
  if (mnl_socket_sendto(socket_.get(), bytes.data(), bytes.size()) < 0) return fail_errno(errno, what);
  std::vector<NetlinkMessage> messages;
  for (;;) {
    const ssize_t got = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, what);
    auto ended = take(std::span(buffer_).first(static_cast<std::size_t>(got)), sequence, what, &messages, interrupted);
    if (!ended) return pass(std::move(ended));
    if (*ended) return messages;
  }
}

Result<std::vector<NetlinkMessage>> NetlinkSocket::request(const NetlinkRequest& message, const std::string& what) {
  bool interrupted = false;
  return exchange(message, NLM_F_ACK, what, &interrupted);
}

Result<std::size_t> NetlinkSocket::count_acks(std::span<const std::byte> block, std::uint32_t first, std::uint32_t last,
                                              const std::string& what) {
  std::size_t acks = 0;
  const auto* header = reinterpret_cast<const nlmsghdr*>(block.data());
  int left = static_cast<int>(block.size());
  for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
    if (header->nlmsg_seq < first || header->nlmsg_seq > last || header->nlmsg_type != NLMSG_ERROR) continue;
    if (mnl_nlmsg_get_payload_len(header) < sizeof(nlmsgerr)) return fail(Errc::failed, what + ": torn answer");
    const int err = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header))->error;
    if (err != 0) return std::unexpected(from_kernel(err, header, what));
    ++acks;
  }
  return acks;
}

Result<void> NetlinkSocket::batch(std::span<const NetlinkRequest> messages, const std::string& what) {
  const std::uint32_t first = sequence_ + 1;
  std::vector<std::byte> all;
  std::size_t wanted = 0;
  for (const NetlinkRequest& message : messages) {
    const auto bytes = message.finish(0, ++sequence_);
    all.insert(all.end(), bytes.begin(), bytes.end());
    if (message.wants_ack()) ++wanted;
  }
  if (mnl_socket_sendto(socket_.get(), all.data(), all.size()) < 0) return fail_errno(errno, what);
  while (wanted > 0) {
    const ssize_t got = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, what);
    auto acks = count_acks(std::span(buffer_).first(static_cast<std::size_t>(got)), first, sequence_, what);
    if (!acks) return pass(std::move(acks));
    wanted -= std::min(wanted, *acks);
  }
  return {};
}

Result<NetlinkDump> NetlinkSocket::dump(const NetlinkRequest& message, const std::string& what) {
  for (int attempt = 1;; ++attempt) {
    bool interrupted = false;
    auto messages = exchange(message, NLM_F_DUMP, what, &interrupted);
    if (!messages) {
      // EBUSY: a previous dump on this socket was given up and has not been cleared away.
      const int err = messages.error().sys_errno;
      if (attempt < kMostAttempts && (err == ENOBUFS || err == EBUSY || err == EAGAIN)) continue;
      return pass(std::move(messages));
    }
    if (!interrupted || attempt == kMostAttempts) return NetlinkDump{std::move(*messages), !interrupted};
  }
}

}  // namespace weir::sys
