// Ethernet frames as a guest would send them, checksums included.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/options.h"

namespace weir::lab {

struct FrameFields {
  std::string source_mac;       ///< "02:…"
  std::string destination_mac;  ///< "02:…"
  std::string source;           ///< IPv4 or IPv6 address; the other one of the same family
  std::string destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  L4 l4 = L4::udp;  ///< tcp: a data segment with PSH and ACK
  unsigned payload_bytes = 0;
};

/// The frame, from Ethernet header to the last byte of payload. Errc::usage for text that is no address.
Result<std::vector<std::uint8_t>> make_frame(const FrameFields& fields);

/// The Internet checksum (RFC 1071) of `size` bytes, host order, not complemented; `sum` carries an earlier part of
/// even length on.
std::uint32_t checksum_add(const std::uint8_t* bytes, std::size_t size, std::uint32_t sum);

/// Folds and complements a sum.
std::uint16_t checksum_finish(std::uint32_t sum);

}  // namespace weir::lab
