#include "netns/ns_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <memory>

#include "base/text.h"
#include "sys/scratch_thread.h"

namespace weir::netns::detail {

namespace {

// Linux 6.18, include/uapi/linux/nsfs.h; younger than the headers of the oldest machine that builds this.
constexpr unsigned long kNsGetId = _IOR(0xb7, 13, std::uint64_t);

}  // namespace

Result<void> check_ns_fd(int fd, const std::string& what) {
  struct statfs fs {};
  if (::fstatfs(fd, &fs) != 0) return fail_errno(errno, what);
  if (static_cast<std::uint64_t>(fs.f_type) != kNsfsMagic) {
    return fail(Errc::usage, what + " is not a network namespace (it is no file of nsfs)");
  }
  const int type = ::ioctl(fd, NS_GET_NSTYPE);
  if (type == -1 && errno == EBADF) return {};  // an O_PATH descriptor: the type is asked on the one opened for real
  if (type == -1) return fail_errno(errno, what + ": NS_GET_NSTYPE");
  if (type != CLONE_NEWNET) return fail(Errc::usage, what + " is a namespace, but not a network namespace");
  return {};
}

Result<sys::Fd> open_ns_file(const std::string& path, const std::string& what) {
  const sys::Fd place(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!place.valid()) return fail_errno(errno, what);
  if (auto checked = check_ns_fd(place.get(), what); !checked) return pass(std::move(checked));
  sys::Fd fd(::open(("/proc/self/fd/" + std::to_string(place.get())).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, what);
  if (auto checked = check_ns_fd(fd.get(), what); !checked) return pass(std::move(checked));
  return fd;
}

Result<std::uint64_t> ns_cookie(int fd) {
  std::uint64_t cookie = 0;
  // On a thread of its own: this is how the library learns where threads are, so it cannot build on that.
  auto inside = sys::on_scratch_thread([&]() -> Result<void> {
    if (::setns(fd, CLONE_NEWNET) != 0) {
      Error error = errno_error(errno, "entering the network namespace to ask for its identity");
      if (error.code == Errc::permission) error.hint = "run as root (CAP_SYS_ADMIN)";
      return std::unexpected(std::move(error));
    }
    const sys::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket.valid()) return fail_errno(errno, "socket");
    socklen_t size = sizeof cookie;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0) return {};
    if (errno == ENOPROTOOPT) {
      return fail(Errc::unsupported, "this kernel gives network namespaces no identity (NS_GET_ID or SO_NETNS_COOKIE)",
                  "Linux 5.14 or later has it");
    }
    return fail_errno(errno, "SO_NETNS_COOKIE");
  });
  if (!inside) return pass(std::move(inside));
  return cookie;
}

Result<std::uint32_t> ns_inode(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return fail_errno(errno, "the inode of a network namespace");
  return static_cast<std::uint32_t>(st.st_ino);
}

namespace {

/// ENOTTY: before 6.18. EINVAL: nsfs of 6.11 to 6.17 knows the magic number, but not this request.
bool has_no_ids(int err) noexcept {
  return err == ENOTTY || err == EINVAL || err == EOPNOTSUPP;
}

}  // namespace

Result<Identity> ns_id(int fd) {
  auto inum = ns_inode(fd);
  if (!inum) return pass(std::move(inum));
  std::uint64_t id = 0;
  if (::ioctl(fd, kNsGetId, &id) == 0) return Identity{id, *inum, false};
  if (!has_no_ids(errno)) return fail_errno(errno, "NS_GET_ID");
  auto cookie = ns_cookie(fd);
  if (cookie) return Identity{*cookie, *inum, false};
  if (cookie.error().code != Errc::unsupported) return pass(std::move(cookie));
  return Identity{*inum, *inum, true};
}

bool leads_to(int fd, std::uint64_t id, std::uint32_t inum) noexcept {
  std::uint64_t is = 0;
  if (::ioctl(fd, kNsGetId, &is) == 0) return is == id;
  if (!has_no_ids(errno)) return false;
  struct statfs fs {};
  struct stat st {};
  return ::fstatfs(fd, &fs) == 0 && static_cast<std::uint64_t>(fs.f_type) == kNsfsMagic && ::fstat(fd, &st) == 0 &&
         st.st_ino == inum;
}

std::string initial_path() {
  constexpr const char* kFirst = "/proc/1/ns/net";
  const sys::Fd first(::open(kFirst, O_PATH | O_CLOEXEC));
  if (first.valid() || (errno != EACCES && errno != EPERM)) return kFirst;
  // Kernel threads never leave the initial namespaces. PID 2 is one only in the initial PID namespace: ask for
  // PF_KTHREAD, the ninth field of stat, the seventh after the name in parentheses.
  std::ifstream file("/proc/2/stat");
  std::string stat;
  std::getline(file, stat);
  const std::size_t after_name = stat.rfind(')');
  if (after_name == std::string::npos) return kFirst;
  constexpr std::uint64_t kPfKthread = 0x00200000;
  const auto fields = split(std::string_view(stat).substr(after_name), ' ');
  const auto flags = fields.size() > 7 ? parse_u64(fields[7]) : std::nullopt;
  return flags && (*flags & kPfKthread) != 0 ? "/proc/2/ns/net" : kFirst;
}

Result<void> check_name(std::string_view name) {
  const std::string quoted = "\"" + std::string(name) + "\"";
  if (name.empty()) return fail(Errc::usage, "a network namespace needs a name");
  if (name.size() > NAME_MAX) return fail(Errc::usage, "namespace name " + quoted + " is longer than 255 characters");
  if (name == "." || name == ".." || name.find('/') != std::string_view::npos) {
    return fail(Errc::usage, "namespace name " + quoted + " would leave " + kNamedDir);
  }
  if (name == "init" || name == "all" || name.starts_with("pid:") || name.starts_with("id:")) {
    return fail(Errc::usage, "namespace name " + quoted + " has a meaning of its own here; choose another");
  }
  return {};
}

Result<std::vector<std::string>> named() {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(kNamedDir), ::closedir);
  if (!dir) {
    if (errno == ENOENT) return names;
    return fail_errno(errno, kNamedDir);
  }
  for (errno = 0; const dirent* entry = ::readdir(dir.get()); errno = 0) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return fail_errno(errno, kNamedDir);
  std::ranges::sort(names);
  return names;
}

}  // namespace weir::netns::detail
