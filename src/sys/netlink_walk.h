// Netlink attributes one after the other, without allocating: for tables of a hundred thousand messages. For anything
// smaller there is netlink_attr.h, which checks attributes against a policy first. Pure: no OS.
#pragma once

#include <linux/netlink.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace weir::sys {

/// Calls `each(type, payload)` for every attribute of a message or nest; payloads point into `rest`. False when one
/// leaves the buffer: those before it were given.
template <class Each>
[[nodiscard]] bool each_attribute(std::span<const std::byte> rest, Each&& each) {
  while (rest.size() >= NLA_HDRLEN) {
    nlattr header{};
    std::memcpy(&header, rest.data(), sizeof header);
    if (header.nla_len < NLA_HDRLEN || header.nla_len > rest.size()) return false;
    each(static_cast<std::uint16_t>(header.nla_type & NLA_TYPE_MASK),
         rest.subspan(NLA_HDRLEN, header.nla_len - NLA_HDRLEN));
    rest = rest.subspan(std::min<std::size_t>(NLA_ALIGN(header.nla_len), rest.size()));
  }
  return true;
}

}  // namespace weir::sys
