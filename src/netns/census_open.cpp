// Opening a namespace that neither a name nor a process leads to.
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "netns/collector.h"
#include "netns/ns_file.h"

namespace weir::netns::detail {

namespace {

/// The path of a mount that only the mount namespace of a process has: "pid:N:/path".
std::string foreign_path(const std::string& mount) {
  const std::size_t colon = mount.find(':', 4);
  return "/proc/" + mount.substr(4, colon - 4) + "/root" + mount.substr(colon + 1);
}

Result<sys::Fd> open_holder(const HoldingFd& holder) {
  const std::string path = "/proc/" + std::to_string(holder.pid) + "/fd/" + std::to_string(holder.fd);
  if (!holder.socket) return open_ns_file(path, path);
  const sys::Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, holder.pid, 0)));
  if (!pidfd.valid()) return fail_errno(errno, path);
  const sys::Fd socket(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd.get(), holder.fd, 0)));
  if (!socket.valid()) return fail_errno(errno, path);
  sys::Fd ns(::ioctl(socket.get(), SIOCGSKNS));
  if (!ns.valid()) return fail_errno(errno, path);
  return ns;
}

}  // namespace

Result<Netns> open_through_others(const Resident& resident) {
  const auto wanted = [&](Result<sys::Fd> fd) -> Result<Netns> {
    if (!fd) return pass(std::move(fd));
    auto ns = Netns::from_fd(std::move(*fd));
    if (ns && ns->id() != resident.id) return fail(Errc::not_found, "another network namespace");
    return ns;
  };
  for (const std::string& mount : resident.mounts) {
    if (!mount.starts_with("pid:")) continue;
    const std::string path = foreign_path(mount);
    if (auto ns = wanted(open_ns_file(path, path))) return ns;
  }
  for (const HoldingFd& holder : resident.holders) {
    if (auto ns = wanted(open_holder(holder))) return ns;
  }
  return fail(Errc::not_found, "network namespace " + resident.display() + " is gone");
}

}  // namespace weir::netns::detail
