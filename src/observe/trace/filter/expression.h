// A packet filter in the language of tcpdump, compiled by libpcap to the classic BPF of the 1990s.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace weir::observe {

/// One instruction of classic BPF (McCanne, Jacobson: The BSD Packet Filter, USENIX 1993), as libpcap gives it.
struct ClassicInstruction {
  std::uint16_t code = 0;
  std::uint8_t jump_true = 0;   ///< instructions to skip when a condition holds
  std::uint8_t jump_false = 0;  ///< and when not
  std::uint32_t k = 0;
};

using ClassicProgram = std::vector<ClassicInstruction>;

/// What a packet begins with where the filter looks at it.
enum class PacketStart : std::uint8_t {
  link,     ///< an Ethernet header
  network,  ///< an IPv4 or IPv6 header: no link header yet, or no longer
};

/// Compiles `expression`; an empty one matches every packet. Names of hosts are looked up, as tcpdump does. What has a
/// meaning on the other kind of packets only, as "ether broadcast" has none for PacketStart::network, never matches.
/// Errc::usage with libpcap's own words when it compiles for neither, and for `protochain`, which needs a loop.
Result<ClassicProgram> compile_expression(const std::string& expression, PacketStart start);

/// Whether a packet's VLAN tag that lies beside its bytes must be put back into them before this filter looks. A word
/// of the language: found elsewhere, in the name of a host, it costs a little time and nothing else.
bool speaks_of_vlans(const std::string& expression);

/// Whether no packet at all matches.
bool never_matches(const ClassicProgram& program);

}  // namespace weir::observe
