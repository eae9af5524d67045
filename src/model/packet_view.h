// The bytes of a packet as its headers are read from them.
#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace weir::model {

/// Bytes in network order that were copied; whoever asks for more learns that they are not there. `beyond` more of the
/// packet were not copied.
class PacketView {
 public:
  PacketView(std::span<const std::byte> bytes, std::uint32_t beyond) : bytes_(bytes), beyond_(beyond) {}
  [[nodiscard]] bool has(std::size_t size) const { return bytes_.size() >= size; }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  /// Bytes from here to the end of the packet.
  [[nodiscard]] std::uint32_t total() const { return static_cast<std::uint32_t>(size()) + beyond_; }
  [[nodiscard]] std::uint8_t u8(std::size_t at) const {
    return at < size() ? std::to_integer<std::uint8_t>(bytes_[at]) : 0;
  }
  [[nodiscard]] std::uint16_t u16(std::size_t at) const {
    return static_cast<std::uint16_t>((u8(at) << 8U) | u8(at + 1));
  }
  [[nodiscard]] std::uint32_t u32(std::size_t at) const {
    return (static_cast<std::uint32_t>(u16(at)) << 16U) | u16(at + 2);
  }
  [[nodiscard]] PacketView from(std::size_t at) const { return {bytes_.subspan(std::min(at, size())), beyond_}; }
  [[nodiscard]] std::string mac(std::size_t at) const {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", u8(at), u8(at + 1), u8(at + 2), u8(at + 3),
                       u8(at + 4), u8(at + 5));
  }
  /// Text of the address of `family` at `at`; empty where it is not there.
  [[nodiscard]] std::string address(int family, std::size_t at) const {
    if (!has(at + (family == AF_INET ? 4 : 16))) return {};
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(family, bytes_.data() + at, text.data(), text.size());
    return text.data();
  }

 private:
  std::span<const std::byte> bytes_;
  std::uint32_t beyond_;
};

}  // namespace weir::model
