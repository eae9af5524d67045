// Bytes of sketches: little-endian, small numbers in few bytes (LEB128).
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::model {

class ByteWriter {
 public:
  void byte(std::uint8_t value) { bytes_ += static_cast<char>(value); }
  void number(std::uint64_t value) {
    for (; value >= 0x80U; value >>= 7U) byte(static_cast<std::uint8_t>(value | 0x80U));
    byte(static_cast<std::uint8_t>(value));
  }
  /// Small where the absolute value is small.
  void signed_number(std::int64_t value) {
    number((static_cast<std::uint64_t>(value) << 1U) ^ static_cast<std::uint64_t>(value >> 63U));
  }
  void real(double value) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    for (unsigned shift = 0; shift < 64; shift += 8) byte(static_cast<std::uint8_t>(bits >> shift));
  }
  void text(std::string_view value) {
    number(value.size());
    bytes_ += value;
  }
  [[nodiscard]] std::string take() && { return std::move(bytes_); }

 private:
  std::string bytes_;
};

/// Once a read has failed, every later one does.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}
  std::optional<std::uint8_t> byte() {
    if (bytes_.empty()) return std::nullopt;
    const auto value = static_cast<std::uint8_t>(bytes_.front());
    bytes_.remove_prefix(1);
    return value;
  }
  std::optional<std::uint64_t> number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto next = byte();
      if (!next) return std::nullopt;
      value |= static_cast<std::uint64_t>(*next & 0x7FU) << shift;
      if ((*next & 0x80U) == 0) return value;
    }
    bytes_ = {};
    return std::nullopt;
  }
  std::optional<std::int64_t> signed_number() {
    const auto raw = number();
    if (!raw) return std::nullopt;
    return static_cast<std::int64_t>(*raw >> 1U) ^ -static_cast<std::int64_t>(*raw & 1U);
  }
  std::optional<double> real() {
    std::uint64_t bits = 0;
    for (unsigned shift = 0; shift < 64; shift += 8) {
      const auto next = byte();
      if (!next) return std::nullopt;
      bits |= static_cast<std::uint64_t>(*next) << shift;
    }
    return std::bit_cast<double>(bits);
  }
  std::optional<std::string_view> text() {
    const auto length = number();
    if (!length || *length > bytes_.size()) {
      bytes_ = {};
      return std::nullopt;
    }
    const std::string_view value = bytes_.substr(0, *length);
    bytes_.remove_prefix(*length);
    return value;
  }
  [[nodiscard]] std::size_t left() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
};

}  // namespace weir::model
