// Sockets and settings of namespaces in which the thread is not.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/text.h"
#include "netns/netns.h"
#include "netns/ns_file.h"

namespace weir::netns {

namespace {

/// What the kernel says of the socket itself, not what this thread believes: 0.3 us against a leak between tenants.
Result<void> audit(int socket, const Netns& ns) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0 || cookie == ns.id()) return {};
  // This thread is not where it was believed to be; from now on it is known.
  auto known = resync();
  Error error{Errc::failed,
              "a socket for namespace id " + std::to_string(ns.id()) + " came out in id " + std::to_string(cookie) +
                  "; it was closed",
              "other code has called setns(2) on this thread: call resync() after it", 0};
  if (!known) error.message += " (" + known.error().message + ")";
  return std::unexpected(std::move(error));
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

/// Device numbers are looked up on a socket: if_nametoindex(3) would ask the namespace of the thread.
Result<std::uint32_t> device_index(int socket, std::string_view device) {
  ifreq request{};
  if (device.empty() || device.size() >= sizeof request.ifr_name) {
    return fail(Errc::usage, "\"" + std::string(device) + "\" is no device name");
  }
  std::ranges::copy(device, request.ifr_name);
  if (::ioctl(socket, SIOCGIFINDEX, &request) != 0) return fail_errno(errno, "device " + std::string(device));
  return static_cast<std::uint32_t>(request.ifr_ifindex);
}

bool is_v6(const Endpoint& endpoint) {
  return endpoint.address.find(':') != std::string::npos;
}

Result<Address> resolve(int socket, const Endpoint& endpoint) {
  Address address;
  const std::string_view text = endpoint.address;
  const std::size_t percent = text.find('%');
  const std::string host(text.substr(0, percent));
  int parsed = 0;
  if (is_v6(endpoint)) {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(endpoint.port);
    address.size = sizeof *in6;
    parsed = ::inet_pton(AF_INET6, host.c_str(), &in6->sin6_addr);
    if (percent != std::string_view::npos) {
      auto index = device_index(socket, text.substr(percent + 1));
      if (!index) return pass(std::move(index));
      in6->sin6_scope_id = *index;
    }
  } else {
    auto* in = reinterpret_cast<sockaddr_in*>(&address.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(endpoint.port);
    address.size = sizeof *in;
    parsed = percent == std::string_view::npos ? ::inet_pton(AF_INET, host.c_str(), &in->sin_addr) : 0;
  }
  if (parsed != 1) return fail(Errc::usage, "\"" + endpoint.address + "\" is no IPv4 or IPv6 address");
  return address;
}

Result<void> set(int socket, int level, int option, const char* name) {
  const int on = 1;
  if (::setsockopt(socket, level, option, &on, sizeof on) != 0) return fail_errno(errno, name);
  return {};
}

Result<void> configure(int socket, bool v6, const ListenOptions& options) {
  struct Switch {
    bool on;
    int level, option;
    const char* name;
  };
  const std::array<Switch, 4> switches{{{options.reuse_address, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"},
                                        {options.reuse_port, SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT"},
                                        {v6 && options.v6_only, IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY"},
                                        {options.freebind, IPPROTO_IP, IP_FREEBIND, "IP_FREEBIND"}}};
  for (const Switch& one : switches) {
    if (!one.on) continue;
    if (auto done = set(socket, one.level, one.option, one.name); !done) return done;
  }
  if (options.device.empty()) return {};
  if (::setsockopt(socket, SOL_SOCKET, SO_BINDTODEVICE, options.device.c_str(),
                   static_cast<socklen_t>(options.device.size())) != 0) {
    return fail_errno(errno, "binding to device " + options.device);
  }
  return {};
}

/// Where `name` stands: "net/ipv4/ip_forward", or with dots, as sysctl(8) takes it. Nothing but /proc/sys/net differs
/// between network namespaces.
Result<std::string> sysctl_path(const std::string& name) {
  std::string path = name;
  if (path.find('/') == std::string::npos) std::ranges::replace(path, '.', '/');
  for (const std::string_view part : split(path, '/')) {
    if (part.empty() || part == "." || part == "..") path.clear();
  }
  if (!path.starts_with("net/")) {
    return fail(Errc::usage, "\"" + name + "\" is no network setting: expected net/ipv4/ip_forward or the like");
  }
  return "/proc/sys/" + path;
}

Result<Fd> open_sysctl(const Netns& ns, const std::string& name, int flags) {
  auto path = sysctl_path(name);
  if (!path) return pass(std::move(path));
  // Which tree stands below /proc/sys/net is decided when it is opened; reading and writing follow the open file.
  return run_in(
      ns,
      [&]() -> Result<Fd> {
        Fd file(::open(path->c_str(), flags | O_CLOEXEC));
        if (!file.valid()) return fail_errno(errno, *path);
        return file;
      },
      Mode::by_thread);
}

}  // namespace

Result<Fd> open_socket(const Netns& ns, int domain, int type, int protocol, Mode mode) {
  auto socket = run_in(
      ns,
      [&]() -> Result<Fd> {
        Fd made(::socket(domain, type | SOCK_CLOEXEC, protocol));
        if (!made.valid()) return fail_errno(errno, "socket");
        return made;
      },
      mode);
  if (!socket || !detail::audit_due(detail::thread_state.socket_audit_in) || ns.weak()) return socket;
  if (auto audited = audit(socket->get(), ns); !audited) return pass(std::move(audited));
  return socket;
}

Result<Fd> listen(const Netns& ns, const Endpoint& endpoint, const ListenOptions& options) {
  const bool v6 = is_v6(endpoint);
  const int type = SOCK_STREAM | (options.nonblocking ? SOCK_NONBLOCK : 0);
  auto socket = open_socket(ns, v6 ? AF_INET6 : AF_INET, type, 0);
  if (!socket) return socket;
  const int fd = socket->get();
  const std::string what =
      "listening on " + (v6 ? "[" + endpoint.address + "]" : endpoint.address) + ":" + std::to_string(endpoint.port);
  auto address = resolve(fd, endpoint);
  if (!address) return pass(std::move(address), what);
  if (auto configured = configure(fd, v6, options); !configured) return pass(std::move(configured), what);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address->storage), address->size) != 0 ||
      ::listen(fd, options.backlog) != 0) {
    return fail_errno(errno, what);
  }
  return socket;
}

Result<Endpoint> local_endpoint(int socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return fail_errno(errno, "getsockname");
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (storage.ss_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    ::inet_ntop(AF_INET, &in->sin_addr, text.data(), text.size());
    return Endpoint{text.data(), ntohs(in->sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    ::inet_ntop(AF_INET6, &in6->sin6_addr, text.data(), text.size());
    return Endpoint{text.data(), ntohs(in6->sin6_port)};
  }
  return fail(Errc::usage, "descriptor " + std::to_string(socket) + " is no IPv4 or IPv6 socket");
}

Result<std::string> read_sysctl(const Netns& ns, const std::string& name) {
  auto file = open_sysctl(ns, name, O_RDONLY);
  if (!file) return pass(std::move(file));
  std::string value;
  std::array<char, 4096> chunk;
  for (;;) {
    const ssize_t got = ::read(file->get(), chunk.data(), chunk.size());
    if (got < 0) return fail_errno(errno, name);
    if (got == 0) break;
    value.append(chunk.data(), static_cast<std::size_t>(got));
  }
  while (value.ends_with('\n')) value.pop_back();
  return value;
}

Result<void> write_sysctl(const Netns& ns, const std::string& name, const std::string& value) {
  auto file = open_sysctl(ns, name, O_WRONLY);
  if (!file) return pass(std::move(file));
  // One write: the kernel takes every write as a whole value.
  if (::write(file->get(), value.data(), value.size()) != std::ssize(value))
    return fail_errno(errno, name + " = " + value);
  return {};
}

Result<sys::NetlinkSocket> open_netlink(const Netns& ns, int protocol) {
  auto socket = open_socket(ns, AF_NETLINK, SOCK_RAW, protocol);
  if (!socket) return pass(std::move(socket));
  return sys::NetlinkSocket::adopt(std::move(*socket));
}

}  // namespace weir::netns
