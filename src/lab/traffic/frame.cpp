#include "lab/traffic/frame.h"

#include <arpa/inet.h>

#include <array>

#include "base/text.h"

namespace weir::lab {

namespace {

constexpr std::uint8_t kUdp = 17;
constexpr std::uint8_t kTcp = 6;

void put16(std::vector<std::uint8_t>& bytes, unsigned value) {
  bytes.push_back(static_cast<std::uint8_t>(value >> 8));
  bytes.push_back(static_cast<std::uint8_t>(value));
}

void put32(std::vector<std::uint8_t>& bytes, std::uint32_t value) {
  put16(bytes, value >> 16);
  put16(bytes, value & 0xffff);
}

void set16(std::vector<std::uint8_t>& bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}

Result<void> put_mac(std::vector<std::uint8_t>& bytes, const std::string& text) {
  const auto parts = split(text, ':');
  if (parts.size() != 6) return fail(Errc::usage, "'" + text + "' is not a MAC address");
  for (const std::string_view part : parts) {
    const auto value = parse_u64(part, 16);
    if (!value || *value > 0xff) return fail(Errc::usage, "'" + text + "' is not a MAC address");
    bytes.push_back(static_cast<std::uint8_t>(*value));
  }
  return {};
}

Result<std::vector<std::uint8_t>> parse_address(int family, const std::string& text) {
  std::array<std::uint8_t, 16> bytes{};
  if (inet_pton(family, text.c_str(), bytes.data()) != 1) {
    return fail(Errc::usage, "'" + text + "' is not an address of the frame's family");
  }
  return std::vector<std::uint8_t>(bytes.begin(), bytes.begin() + (family == AF_INET ? 4 : 16));
}

/// UDP or TCP header and payload, the checksum still 0.
std::vector<std::uint8_t> transport(const FrameFields& fields) {
  std::vector<std::uint8_t> bytes;
  put16(bytes, fields.source_port);
  put16(bytes, fields.destination_port);
  if (fields.l4 == L4::udp) {
    put16(bytes, 8 + fields.payload_bytes);
    put16(bytes, 0);
  } else {
    put32(bytes, 1);       // sequence number
    put32(bytes, 1);       // acknowledgement
    put16(bytes, 0x5018);  // 5 words of header, PSH | ACK
    put16(bytes, 0xffff);  // window
    put32(bytes, 0);       // checksum, urgent pointer
  }
  bytes.insert(bytes.end(), fields.payload_bytes, std::uint8_t{'w'});
  return bytes;
}

}  // namespace

std::uint32_t checksum_add(const std::uint8_t* bytes, std::size_t size, std::uint32_t sum) {
  for (std::size_t i = 0; i < size; ++i) {
    sum += i % 2 == 0 ? static_cast<std::uint32_t>(bytes[i]) << 8 : bytes[i];
  }
  return sum;
}

std::uint16_t checksum_finish(std::uint32_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Result<std::vector<std::uint8_t>> make_frame(const FrameFields& fields) {
  const int family = fields.source.find(':') == std::string::npos ? AF_INET : AF_INET6;
  auto source = parse_address(family, fields.source);
  if (!source) return source;
  auto destination = parse_address(family, fields.destination);
  if (!destination) return destination;
  const std::uint8_t protocol = fields.l4 == L4::udp ? kUdp : kTcp;
  std::vector<std::uint8_t> segment = transport(fields);

  // Both pseudo headers are the addresses, the protocol and the length (RFC 768, RFC 8200 §8.1).
  std::uint32_t sum = checksum_add(source->data(), source->size(), 0);
  sum = checksum_add(destination->data(), destination->size(), sum);
  sum += protocol + static_cast<std::uint32_t>(segment.size());
  std::uint16_t check = checksum_finish(checksum_add(segment.data(), segment.size(), sum));
  if (fields.l4 == L4::udp && check == 0) check = 0xffff;  // 0 would mean "none" (RFC 768)
  set16(segment, fields.l4 == L4::udp ? 6 : 16, check);

  std::vector<std::uint8_t> frame;
  if (auto ok = put_mac(frame, fields.destination_mac); !ok) return pass(std::move(ok));
  if (auto ok = put_mac(frame, fields.source_mac); !ok) return pass(std::move(ok));
  put16(frame, family == AF_INET ? 0x0800 : 0x86dd);
  if (family == AF_INET) {
    put16(frame, 0x4500);
    put16(frame, static_cast<unsigned>(20 + segment.size()));
    put32(frame, 0x00004000);  // identification 0, don't fragment
    put16(frame, 64U << 8 | protocol);
    put16(frame, 0);
  } else {
    put32(frame, 0x60000000);
    put16(frame, static_cast<unsigned>(segment.size()));
    put16(frame, static_cast<unsigned>(protocol) << 8 | 64U);
  }
  frame.insert(frame.end(), source->begin(), source->end());
  frame.insert(frame.end(), destination->begin(), destination->end());
  if (family == AF_INET) set16(frame, 24, checksum_finish(checksum_add(frame.data() + 14, 20, 0)));
  frame.insert(frame.end(), segment.begin(), segment.end());
  return frame;
}

}  // namespace weir::lab
