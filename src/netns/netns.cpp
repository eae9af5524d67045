#include "netns/netns.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "base/text.h"
#include "netns/ns_file.h"

namespace weir::netns {

namespace {

Result<Netns> open_checked(const std::string& path, const std::string& what) {
  auto fd = detail::open_ns_file(path, what);
  if (!fd) return pass(std::move(fd));
  return Netns::from_fd(std::move(*fd));
}

Result<Netns> open_pid(std::string_view number) {
  const auto pid = parse_u64(number);
  if (!pid || *pid == 0 || *pid > std::uint64_t{1} << 22) {  // PID_MAX_LIMIT
    return fail(Errc::usage, "\"pid:" + std::string(number) + "\": expected a process id after \"pid:\"");
  }
  auto ns = open_checked("/proc/" + std::to_string(*pid) + "/ns/net", "process " + std::to_string(*pid));
  if (!ns && ns.error().code == Errc::not_found) {
    return fail(Errc::not_found, "no process " + std::to_string(*pid) + ", so no network namespace of it");
  }
  return ns;
}

Result<Netns> open_id(std::string_view number) {
  const auto id = parse_u64(number);
  if (!id) return fail(Errc::usage, "\"id:" + std::string(number) + "\": expected a namespace id after \"id:\"");
  const auto entries = list(nullptr, 16);
  if (!entries) return std::unexpected(entries.error());
  for (const Entry& entry : *entries) {
    if (entry.id == *id) return open(entry);
  }
  return fail(Errc::not_found, "no network namespace has id " + std::to_string(*id),
              "ids hold for one boot; only namespaces with a name or a process can be found");
}

Result<Netns> open_name(std::string_view name) {
  if (auto checked = detail::check_name(name); !checked) return pass(std::move(checked));
  const std::string path = detail::kNamedDir + ("/" + std::string(name));
  auto ns = open_checked(path, path);
  if (ns || ns.error().code != Errc::not_found) return ns;
  auto known = detail::named().value_or(std::vector<std::string>{});
  known.emplace_back("init");
  return fail(Errc::not_found, "no network namespace \"" + std::string(name) + "\"", suggest(name, known));
}

}  // namespace

Result<Netns> Netns::open(std::string_view spec) {
  if (spec == "init") return initial();
  if (spec == "all") return fail(Errc::usage, "\"all\" is not one network namespace");
  if (spec.starts_with("pid:")) return open_pid(spec.substr(4));
  if (spec.starts_with("id:")) return open_id(spec.substr(3));
  if (spec.starts_with('/')) return open_checked(std::string(spec), std::string(spec));
  if (spec.find('/') != std::string_view::npos) {
    return fail(Errc::usage, "\"" + std::string(spec) +
                                 "\" is no network namespace: expected a name, an absolute path, pid:N, id:N or init");
  }
  return open_name(spec);
}

Result<Netns> Netns::current() {
  return open_checked("/proc/thread-self/ns/net", "this thread's network namespace");
}

Result<Netns> Netns::initial() {
  return open_checked(detail::initial_path(), "the initial network namespace");
}

Result<Netns> Netns::from_fd(sys::Fd fd) {
  if (auto checked = detail::check_ns_fd(fd.get(), "descriptor " + std::to_string(fd.get())); !checked) {
    return pass(std::move(checked));
  }
  auto id = detail::ns_id(fd.get());
  if (!id) return pass(std::move(id));
  return Netns(std::move(fd), *id);
}

Result<void> run_in(const Netns& ns, const std::function<Result<void>()>& body) {
  return detail::run_inside(ns.fd(), body);
}

Result<sys::Fd> open_socket(const Netns& ns, int domain, int type, int protocol) {
  sys::Fd socket;
  auto made = run_in(ns, [&]() -> Result<void> {
    socket = sys::Fd(::socket(domain, type | SOCK_CLOEXEC, protocol));
    if (!socket.valid()) return fail_errno(errno, "socket");
    return {};
  });
  if (!made) return pass(std::move(made));
  // What the kernel says of the socket itself, not what this thread believes: 0.3 us against a leak between tenants.
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0 && cookie != ns.id()) {
    return fail(Errc::failed, "a socket for namespace id " + std::to_string(ns.id()) + " came out in id " +
                                  std::to_string(cookie) + "; it was closed");
  }
  return socket;
}

}  // namespace weir::netns
