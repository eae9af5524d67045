// Netlink attributes, validated against a table before anything is read. Pure: no OS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weir::sys {

enum class AttrKind : std::uint8_t { u8, u16, u32, s32, u64, string, binary, nested, flag };

/// What one attribute of a message must look like. `min_size` counts for binary only.
struct AttrRule {
  std::uint16_t type = 0;
  AttrKind kind = AttrKind::binary;
  std::size_t min_size = 0;
};
using AttrPolicy = std::span<const AttrRule>;

/// The attributes of one message or nest that the policy knows; others are skipped, as newer kernels add them. Views
/// into the buffer that was parsed: that must live longer.
class Attributes {
 public:
  Attributes() = default;
  /// Fails on a length that leaves the buffer and on an attribute that breaks its rule. Of an attribute that stands
  /// twice the last counts, as in the kernel's nla_parse().
  static Result<Attributes> parse(std::span<const std::byte> payload, AttrPolicy policy);

  [[nodiscard]] bool has(std::uint16_t type) const { return find(type) != nullptr; }
  /// Numbers; nullopt when absent or declared with another kind.
  [[nodiscard]] std::optional<std::uint8_t> u8(std::uint16_t type) const { return number<std::uint8_t>(type); }
  [[nodiscard]] std::optional<std::uint16_t> u16(std::uint16_t type) const { return number<std::uint16_t>(type); }
  [[nodiscard]] std::optional<std::uint32_t> u32(std::uint16_t type) const { return number<std::uint32_t>(type); }
  [[nodiscard]] std::optional<std::int32_t> s32(std::uint16_t type) const { return number<std::int32_t>(type); }
  [[nodiscard]] std::optional<std::uint64_t> u64(std::uint16_t type) const { return number<std::uint64_t>(type); }
  /// A string up to its NUL; empty when absent.
  [[nodiscard]] std::string_view string(std::uint16_t type) const;
  /// The raw payload; empty when absent.
  [[nodiscard]] std::span<const std::byte> bytes(std::uint16_t type) const;
  /// The nest parsed with its own policy; no attributes when absent.
  [[nodiscard]] Result<Attributes> nested(std::uint16_t type, AttrPolicy policy) const;
  /// The payloads of all attributes of a nest, whatever their types: arrays such as TCA_ACT.
  [[nodiscard]] Result<std::vector<std::span<const std::byte>>> elements(std::uint16_t type) const;

 private:
  struct Found {
    AttrRule rule;
    std::span<const std::byte> payload;
  };
  [[nodiscard]] const Found* find(std::uint16_t type) const;
  template <class T>
  [[nodiscard]] std::optional<T> number(std::uint16_t type) const;
  std::vector<Found> found_;
};

}  // namespace weir::sys
