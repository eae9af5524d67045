// Builds netlink messages byte by byte, for tests of what reads them.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>

namespace weir::test {

/// The bytes of a value, as they stand in memory.
template <class T>
std::string raw(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// Netlink attributes, one after the other; with message() a whole message.
class Wire {
 public:
  Wire& attr(std::uint16_t type, const std::string& payload) {
    nlattr header{};
    header.nla_len = static_cast<std::uint16_t>(NLA_HDRLEN + payload.size());
    header.nla_type = type;
    text_ += raw(header) + payload;
    text_.resize(NLA_ALIGN(text_.size()));
    return *this;
  }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return std::as_bytes(std::span(text_)); }

  /// A message of that type with the fixed part and these attributes.
  template <class Fixed>
  [[nodiscard]] std::string message(std::uint16_t type, const Fixed& fixed) const {
    std::string body = raw(fixed);
    body.resize(NLMSG_ALIGN(body.size()));
    body += text_;
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_HDRLEN + body.size());
    return raw(header) + body;
  }

 private:
  std::string text_;
};

}  // namespace weir::test
