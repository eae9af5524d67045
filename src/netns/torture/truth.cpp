#include "netns/torture/truth.h"

#include <fcntl.h>
#include <linux/ioctl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "weir/fd.h"

namespace weir::netns::torture {

std::optional<std::uint64_t> of_socket(int socket) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) return std::nullopt;
  return cookie;
}

std::optional<std::uint64_t> of_this_thread() {
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return std::nullopt;
  return of_socket(socket.get());
}

std::optional<std::uint64_t> of_file(int fd) {
  constexpr unsigned long kNsGetId = _IOR(0xb7, 13, std::uint64_t);  // Linux 6.18, include/uapi/linux/nsfs.h
  std::uint64_t id = 0;
  if (::ioctl(fd, kNsGetId, &id) != 0) return std::nullopt;
  return id;
}

}  // namespace weir::netns::torture
