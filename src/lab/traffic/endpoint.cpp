#include "lab/traffic/endpoint.h"

#include <arpa/inet.h>

#include <cstring>

#include "sys/fd.h"

namespace weir::lab {

Result<Endpoint> parse_endpoint(const std::string& address, std::uint16_t port) {
  Endpoint endpoint;
  sockaddr_in v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&endpoint.address, &v4, sizeof(v4));
    endpoint.size = sizeof(v4);
    return endpoint;
  }
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&endpoint.address, &v6, sizeof(v6));
    endpoint.size = sizeof(v6);
    return endpoint;
  }
  return fail(Errc::usage, "'" + address + "' is not an IP address");
}

Result<sys::Fd> bind_any(int type, std::uint16_t port) {
  for (const char* any : {"::", "0.0.0.0"}) {
    const auto endpoint = parse_endpoint(any, port);
    sys::Fd socket(::socket(endpoint->family(), type | SOCK_CLOEXEC, 0));
    if (!socket.valid()) continue;
    const int on = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(socket.get(), endpoint->get(), endpoint->size) == 0) return socket;
  }
  return fail_errno(errno, "binding port " + std::to_string(port));
}

}  // namespace weir::lab
