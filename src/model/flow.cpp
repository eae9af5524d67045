#include "model/flow.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace weir::model {

const char* to_string(FlowDirection direction) {
  return direction == FlowDirection::tx ? "tx" : "rx";
}

const char* to_string(FlowClass flow_class) {
  switch (flow_class) {
    case FlowClass::mouse:
      return "mouse";
    case FlowClass::medium:
      return "medium";
    case FlowClass::elephant:
      return "elephant";
  }
  return "medium";
}

const char* to_string(FlowEvent::Kind kind) {
  switch (kind) {
    case FlowEvent::Kind::promoted:
      return "promoted";
    case FlowEvent::Kind::demoted:
      return "demoted";
    case FlowEvent::Kind::ended:
      return "ended";
  }
  return "ended";
}

FlowTuple FlowTuple::reversed() const {
  FlowTuple other = *this;
  std::swap(other.source, other.destination);
  std::swap(other.source_port, other.destination_port);
  return other;
}

std::uint64_t hash_of(const FlowTuple& tuple) {
  std::array<std::uint64_t, 5> words{};
  std::memcpy(words.data(), tuple.source.data(), 16);
  std::memcpy(words.data() + 2, tuple.destination.data(), 16);
  words[4] = std::uint64_t{tuple.source_port} << 48U | std::uint64_t{tuple.destination_port} << 32U |
             std::uint64_t{tuple.ethertype} << 16U | tuple.protocol;
  std::uint64_t hash = 0x9E3779B97F4A7C15U;
  for (const std::uint64_t word : words) {
    hash = (hash ^ word) * 0xC2B2AE3D27D4EB4FU;
    hash ^= hash >> 32U;
  }
  hash *= 0xFF51AFD7ED558CCDU;  // the finalizer of MurmurHash3
  return hash ^ (hash >> 33U);
}

std::string address_text(const AddressBytes& address, int family) {
  if (family == 0) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(family == 4 ? AF_INET : AF_INET6, address.data(), text.data(), text.size());
  return text.data();
}

std::string protocol_text(const FlowTuple& tuple) {
  if (tuple.family() == 0) return tuple.ethertype == 0x0806 ? "arp" : fmt::format("{:#06x}", tuple.ethertype);
  switch (tuple.protocol) {
    case IPPROTO_ICMP:
      return "icmp";
    case IPPROTO_IGMP:
      return "igmp";
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_GRE:
      return "gre";
    case IPPROTO_ESP:
      return "esp";
    case IPPROTO_ICMPV6:
      return "icmp6";
    case IPPROTO_SCTP:
      return "sctp";
    default:
      return fmt::format("{}", tuple.protocol);
  }
}

std::string to_string(const FlowTuple& tuple) {
  const int family = tuple.family();
  if (family == 0) return protocol_text(tuple);
  const bool ports = tuple.source_port != 0 || tuple.destination_port != 0;
  const auto end = [&](const AddressBytes& address, std::uint16_t port) {
    std::string text = address_text(address, family);
    if (!ports) return text;
    return family == 6 ? fmt::format("[{}]:{}", text, port) : fmt::format("{}:{}", text, port);
  };
  return end(tuple.source, tuple.source_port) + " > " + end(tuple.destination, tuple.destination_port);
}

FlowCount& FlowCount::operator+=(const FlowCount& other) {
  bytes += other.bytes;
  packets += other.packets;
  wire_packets += other.wire_packets;
  return *this;
}

void sort_heaviest_first(std::vector<Flow>& flows) {
  std::ranges::sort(flows, [](const Flow& a, const Flow& b) {
    return a.window.bytes != b.window.bytes ? a.window.bytes > b.window.bytes : a.key < b.key;
  });
}

double flow_rate_bps(std::uint64_t bytes, std::chrono::nanoseconds span) {
  const std::chrono::nanoseconds counted = std::max<std::chrono::nanoseconds>(span, std::chrono::milliseconds(1));
  return static_cast<double>(bytes) * 8.0 / std::chrono::duration<double>(counted).count();
}

std::int64_t LedgerLine::unattributed_bytes() const {
  const auto least = static_cast<std::int64_t>(accounted_bytes + overflow_bytes - link_header_bytes);
  const auto most = least + static_cast<std::int64_t>(segment_header_bytes + below_bytes);
  const auto counted = static_cast<std::int64_t>(interface_bytes);
  if (counted < least) return counted - least;
  return counted > most ? counted - most : 0;
}

LedgerLine Ledger::total() const {
  LedgerLine sum;
  for (const LedgerLine& line : lines) {
    sum.accounted_bytes += line.accounted_bytes;
    sum.overflow_bytes += line.overflow_bytes;
    sum.interface_bytes += line.interface_bytes;
    sum.link_header_bytes += line.link_header_bytes;
    sum.segment_header_bytes += line.segment_header_bytes;
    sum.below_bytes += line.below_bytes;
    sum.moment_bytes += line.moment_bytes;
  }
  return sum;
}

}  // namespace weir::model
