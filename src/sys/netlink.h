// Netlink requests and dumps, over libmnl.
#pragma once

#include <linux/netlink.h>

#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"
#include "sys/netlink_attr.h"

struct mnl_socket;

namespace weir::sys {

/// A request that is being put together: header, fixed part, attributes.
class NetlinkRequest {
 public:
  /// `fixed` is the family's own header: ifinfomsg, tcmsg, rtgenmsg, genlmsghdr.
  template <class Fixed>
  NetlinkRequest(std::uint16_t type, std::uint16_t flags, const Fixed& fixed) : NetlinkRequest(type, flags) {
    static_assert(std::is_trivially_copyable_v<Fixed>);
    append(&fixed, sizeof fixed);
  }
  NetlinkRequest& u32(std::uint16_t type, std::uint32_t value) { return put(type, &value, sizeof value); }
  NetlinkRequest& s32(std::uint16_t type, std::int32_t value) { return put(type, &value, sizeof value); }
  NetlinkRequest& string(std::uint16_t type, const std::string& value) {
    return put(type, value.c_str(), value.size() + 1);
  }
  NetlinkRequest& put(std::uint16_t type, const void* data, std::size_t size);
  /// A nest of the attributes that `fill(request)` puts.
  template <class Fill>
  NetlinkRequest& nest(std::uint16_t type, Fill&& fill) {
    const std::size_t start = bytes_.size();
    put(type | NLA_F_NESTED, nullptr, 0);
    std::forward<Fill>(fill)(*this);
    close_nest(start);
    return *this;
  }

 private:
  friend class NetlinkSocket;
  NetlinkRequest(std::uint16_t type, std::uint16_t flags);
  void append(const void* data, std::size_t size);
  /// Writes the length of the attribute that starts at `start`: it reaches to the end.
  void close_nest(std::size_t start);
  /// The finished message.
  std::vector<std::byte> finish(std::uint16_t more_flags, std::uint32_t sequence) const;
  [[nodiscard]] bool wants_ack() const;
  std::vector<std::byte> bytes_;
};

/// One message of an answer; owns its bytes.
class NetlinkMessage {
 public:
  /// A whole message, header included. Its bytes need not be sound: every reader checks.
  explicit NetlinkMessage(std::span<const std::byte> bytes) : bytes_(bytes.begin(), bytes.end()) {}
  [[nodiscard]] std::uint16_t type() const { return header().nlmsg_type; }
  /// The family's fixed part; Errc::failed when the message is shorter.
  template <class Fixed>
  [[nodiscard]] Result<Fixed> fixed() const {
    static_assert(std::is_trivially_copyable_v<Fixed>);
    Fixed value{};
    if (payload().size() < sizeof value) return fail(Errc::failed, "netlink message is too short");
    std::memcpy(&value, payload().data(), sizeof value);
    return value;
  }
  /// The attributes after a fixed part of that type. They point into this message.
  template <class Fixed>
  [[nodiscard]] Result<Attributes> attributes(AttrPolicy policy) const {
    constexpr std::size_t kSize = NLMSG_ALIGN(sizeof(Fixed));
    if (payload().size() < sizeof(Fixed)) return fail(Errc::failed, "netlink message is too short");
    return Attributes::parse(payload().subspan(std::min(kSize, payload().size())), policy);
  }

 private:
  [[nodiscard]] nlmsghdr header() const;
  [[nodiscard]] std::span<const std::byte> payload() const;
  std::vector<std::byte> bytes_;
};

/// The answer to a dump.
struct NetlinkDump {
  std::vector<NetlinkMessage> messages;
  bool consistent = true;  ///< false: the kernel's tables changed during every attempt; entries may be missing or twice
};

/// A netlink socket. It lives in the namespace in which it was made, wherever the calling thread is.
class NetlinkSocket {
 public:
  /// In the calling thread's namespace. `protocol` is NETLINK_ROUTE and the like.
  static Result<NetlinkSocket> open(int protocol);
  /// Takes over a netlink socket, for example one of netns::open_socket().
  static Result<NetlinkSocket> adopt(Fd fd);

  /// Sends a request and waits for its acknowledgement; gives back what came before that. The kernel's own words
  /// (extended ack) stand in the error.
  Result<std::vector<NetlinkMessage>> request(const NetlinkRequest& message, const std::string& what);
  /// Sends all messages in one datagram, of which the kernel takes all or none (nfnetlink's batches: the first and the
  /// last are NFNL_MSG_BATCH_BEGIN and _END), and waits until each that asks for an acknowledgement (NLM_F_ACK) has
  /// one. The first error counts.
  Result<void> batch(std::span<const NetlinkRequest> messages, const std::string& what);
  /// Asks for a whole table; tried again while the table changes under the dump or the socket overflows.
  Result<NetlinkDump> dump(const NetlinkRequest& message, const std::string& what);

 private:
  struct Closer {
    void operator()(mnl_socket* socket) const;
  };
  explicit NetlinkSocket(mnl_socket* socket) : socket_(socket) {}
  /// Reads until the end of the answer to `sequence`; sets `interrupted` for NLM_F_DUMP_INTR.
  Result<std::vector<NetlinkMessage>> exchange(const NetlinkRequest& message, std::uint16_t flags,
                                               const std::string& what, bool* interrupted);
  /// Counts the acknowledgements in `block` of messages numbered `first` to `last`.
  static Result<std::size_t> count_acks(std::span<const std::byte> block, std::uint32_t first, std::uint32_t last,
                                        const std::string& what);
  Result<bool> take(std::span<const std::byte> block, std::uint32_t sequence, const std::string& what,
                    std::vector<NetlinkMessage>* messages, bool* interrupted);
  std::unique_ptr<mnl_socket, Closer> socket_;
  std::uint32_t sequence_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace weir::sys
