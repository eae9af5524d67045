#include "sys/netlink_attr.h"

#include <linux/netlink.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>

namespace weir::sys {

namespace {

using Bytes = std::span<const std::byte>;

std::size_t size_of(AttrKind kind) {
  switch (kind) {
    case AttrKind::u8:
      return 1;
    case AttrKind::u16:
      return 2;
    case AttrKind::u32:
    case AttrKind::s32:
      return 4;
    case AttrKind::u64:
      return 8;
    default:
      return 0;
  }
}

bool obeys(const AttrRule& rule, Bytes payload) {
  switch (rule.kind) {
    case AttrKind::string:
    case AttrKind::nested:
      return true;
    case AttrKind::binary:
      return payload.size() >= rule.min_size;
    case AttrKind::flag:
      return payload.empty();
    default:
      return payload.size() == size_of(rule.kind);
  }
}

/// Calls `each(type, payload)` for every attribute of a buffer.
Result<void> walk(Bytes rest, const std::function<Result<void>(std::uint16_t, Bytes)>& each) {
  while (rest.size() >= NLA_HDRLEN) {
    nlattr header{};
    std::memcpy(&header, rest.data(), sizeof header);
    if (header.nla_len < NLA_HDRLEN || header.nla_len > rest.size()) {
      return fail(Errc::failed, "netlink attribute of length " + std::to_string(header.nla_len) + " in " +
                                    std::to_string(rest.size()) + " bytes");
    }
    auto done = each(header.nla_type & NLA_TYPE_MASK, rest.subspan(NLA_HDRLEN, header.nla_len - NLA_HDRLEN));
    if (!done) return done;
    rest = rest.subspan(std::min<std::size_t>(NLA_ALIGN(header.nla_len), rest.size()));
  }
  return {};
}

template <class T>
constexpr AttrKind kind_of() {
  if constexpr (std::is_same_v<T, std::int32_t>) return AttrKind::s32;
  switch (sizeof(T)) {
    case 1:
      return AttrKind::u8;
    case 2:
      return AttrKind::u16;
    case 4:
      return AttrKind::u32;
    default:
      return AttrKind::u64;
  }
}

}  // namespace

Result<Attributes> Attributes::parse(Bytes payload, AttrPolicy policy) {
  Attributes attributes;
  auto walked = walk(payload, [&](std::uint16_t type, Bytes value) -> Result<void> {
    const auto rule = std::ranges::find(policy, type, &AttrRule::type);
    if (rule == policy.end()) return {};
    if (!obeys(*rule, value)) {
      return fail(Errc::failed, "netlink attribute " + std::to_string(type) + " has an impossible size of " +
                                    std::to_string(value.size()) + " bytes");
    }
    const auto before = std::ranges::find(attributes.found_, type, [](const Found& found) { return found.rule.type; });
    if (before != attributes.found_.end()) {
      before->payload = value;
    } else {
      attributes.found_.push_back({*rule, value});
    }
    return {};
  });
  if (!walked) return pass(std::move(walked));
  return attributes;
}

const Attributes::Found* Attributes::find(std::uint16_t type) const {
  const auto at = std::ranges::find(found_, type, [](const Found& found) { return found.rule.type; });
  return at == found_.end() ? nullptr : &*at;
}

template <class T>
std::optional<T> Attributes::number(std::uint16_t type) const {
  const Found* found = find(type);
  if (found == nullptr || found->rule.kind != kind_of<T>()) return std::nullopt;
  T value{};
  std::memcpy(&value, found->payload.data(), sizeof value);
  return value;
}
template std::optional<std::uint8_t> Attributes::number(std::uint16_t) const;
template std::optional<std::uint16_t> Attributes::number(std::uint16_t) const;
template std::optional<std::uint32_t> Attributes::number(std::uint16_t) const;
template std::optional<std::int32_t> Attributes::number(std::uint16_t) const;
template std::optional<std::uint64_t> Attributes::number(std::uint16_t) const;

std::string_view Attributes::string(std::uint16_t type) const {
  const Found* found = find(type);
  if (found == nullptr || found->rule.kind != AttrKind::string || found->payload.empty()) return {};
  const auto* text = reinterpret_cast<const char*>(found->payload.data());
  return {text, ::strnlen(text, found->payload.size())};
}

Bytes Attributes::bytes(std::uint16_t type) const {
  const Found* found = find(type);
  return found == nullptr ? Bytes{} : found->payload;
}

Result<Attributes> Attributes::nested(std::uint16_t type, AttrPolicy policy) const {
  return parse(bytes(type), policy);
}

Result<std::vector<Bytes>> Attributes::elements(std::uint16_t type) const {
  std::vector<Bytes> payloads;
  auto walked = walk(bytes(type), [&](std::uint16_t, Bytes payload) -> Result<void> {
    payloads.push_back(payload);
    return {};
  });
  if (!walked) return pass(std::move(walked));
  return payloads;
}

}  // namespace weir::sys
