// Socket addresses of both families from text.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "sys/fd.h"

namespace weir::lab {

struct Endpoint {
  sockaddr_storage address{};
  socklen_t size = 0;
  [[nodiscard]] int family() const { return address.ss_family; }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

inline constexpr std::uint16_t kDiscardPort = 9;  // RFC 863
inline constexpr std::uint16_t kEchoPort = 7;     // RFC 862
inline constexpr std::uint16_t kBulkPort = 5001;  // TCP and UDP

/// An IPv4 or IPv6 address (never a name) with a port; Errc::usage for other text.
Result<Endpoint> parse_endpoint(const std::string& address, std::uint16_t port);

/// The wildcard address for both families: an IPv6 socket that takes IPv4 too, or plain IPv4 where there is no IPv6.
/// Returns a bound socket of the given type.
Result<sys::Fd> bind_any(int type, std::uint16_t port);

}  // namespace weir::lab
