// The part of the census that goes through /proc: processes, threads, and what only other mount namespaces or
// descriptors hold.
#include <dirent.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/text.h"
#include "netns/collector.h"
#include "netns/ns_file.h"

namespace weir::netns::detail {

namespace {

constexpr std::size_t kMostHolders = 8;

/// The numbers that stand as names in a directory of /proc.
Result<std::vector<pid_t>> numbers_in(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return fail_errno(errno, path);
  std::vector<pid_t> numbers;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (const auto number = parse_u64(entry->d_name)) numbers.push_back(static_cast<pid_t>(*number));
  }
  return numbers;
}

std::string proc_path(pid_t pid, const char* below) {
  return "/proc/" + std::to_string(pid) + below;
}

void collect_threads(Collector& collector, pid_t pid, const Resident& home) {
  // The link count of the task directory is the number of threads + 2: one call spares most processes a listing.
  struct stat st {};
  const std::string tasks = proc_path(pid, "/task");
  if (::stat(tasks.c_str(), &st) != 0 || st.st_nlink <= 3) return;
  const auto threads = numbers_in(tasks);
  if (!threads) return;
  for (const pid_t thread : *threads) {
    const auto found = collector.at(tasks + "/" + std::to_string(thread) + "/ns/net");
    if (found && found->resident != &home) found->resident->threads.push_back({thread, comm_of(thread)});
  }
}

/// Mounts of a namespace that another mount namespace has to itself: containers' runtimes keep theirs there.
void collect_foreign_mounts(Collector& collector, pid_t pid) {
  const auto mounts = read_ns_mounts(proc_path(pid, "/mountinfo"));
  if (!mounts) return;
  const std::set<std::uint64_t> known = collector.inodes();
  for (const NsMount& mount : *mounts) {
    // While both are mounted, equal inodes are one namespace.
    if (known.contains(mount.inode)) continue;
    const auto found = collector.at(proc_path(pid, "/root") + mount.point);
    if (found) found->resident->mounts.push_back("pid:" + std::to_string(pid) + ":" + mount.point);
  }
}

/// Which mount namespaces were seen, by inode: right for as long as the census lasts and their processes live.
class MountNamespaces {
 public:
  /// Whether the process is the first one met in its mount namespace.
  bool is_new(pid_t pid) {
    struct stat st {};
    return ::stat(proc_path(pid, "/ns/mnt").c_str(), &st) == 0 && seen_.insert(st.st_ino).second;
  }

 private:
  std::set<ino_t> seen_;
};

sys::Fd duplicate_of(int pidfd, int fd) {
  return sys::Fd(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, fd, 0)));
}

/// The resident in which a socket of another process was made.
Resident* home_of_socket(Collector& collector, const sys::Fd& socket) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0) {
    if (Resident* known = collector.known(cookie)) return known;
  }
  const sys::Fd ns(::ioctl(socket.get(), SIOCGSKNS));
  if (!ns.valid()) return nullptr;
  auto resident = collector.of(ns);
  return resident ? *resident : nullptr;
}

}  // namespace

void collect_descriptors(Collector& collector, pid_t pid, std::size_t& sockets_left) {
  const auto fds = numbers_in(proc_path(pid, "/fd"));
  if (!fds) return;
  const auto home = collector.at(proc_path(pid, "/ns/net"));
  sys::Fd pidfd;
  std::array<char, 64> target{};
  for (const int fd : *fds) {
    const std::string path = proc_path(pid, "/fd/") + std::to_string(fd);
    const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
    if (length <= 0) continue;
    const std::string_view kind(target.data(), static_cast<std::size_t>(length));
    Resident* resident = nullptr;
    const bool socket = kind.starts_with("socket:[");
    if (kind.starts_with("net:[")) {
      if (const auto found = collector.at(path)) resident = found->resident;
    } else if (socket && sockets_left > 0) {
      --sockets_left;
      if (!pidfd.valid()) pidfd = sys::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
      const sys::Fd copy = duplicate_of(pidfd.get(), fd);
      if (copy.valid()) resident = home_of_socket(collector, copy);
    }
    if (resident == nullptr || (home && home->resident == resident)) continue;
    if (resident->holders.size() < kMostHolders) resident->holders.push_back({pid, fd, socket});
  }
}

Result<void> collect_processes(Collector& collector) {
  auto pids = numbers_in("/proc");
  if (!pids) return pass(std::move(pids));
  MountNamespaces mount_namespaces;
  static_cast<void>(mount_namespaces.is_new(::getpid()));
  std::vector<pid_t> elsewhere;
  std::size_t refused = 0;
  for (const pid_t pid : *pids) {
    const auto found = collector.at(proc_path(pid, "/ns/net"));
    if (found) {
      found->resident->pids.push_back(pid);
      // The threads of this very process are the census itself, which wanders.
      if (pid != ::getpid()) collect_threads(collector, pid, *found->resident);
      if (mount_namespaces.is_new(pid)) elsewhere.push_back(pid);
    } else if (found.error().code != Errc::not_found) {
      ++refused;
    }
  }
  for (const pid_t pid : elsewhere) collect_foreign_mounts(collector, pid);
  if (refused > 0) {
    collector.gaps.unreadable.push_back(std::to_string(refused) + (refused == 1 ? " process" : " processes") +
                                        " that this user may not look into");
  }
  if (!collector.options().deep) return {};
  std::size_t sockets_left = collector.options().max_sockets;
  for (const pid_t pid : *pids) {
    if (pid != ::getpid()) collect_descriptors(collector, pid, sockets_left);
  }
  if (sockets_left == 0) {
    collector.gaps.unreadable.push_back("more than " + std::to_string(collector.options().max_sockets) +
                                        " sockets: the rest was not looked at");
  }
  return {};
}

}  // namespace weir::netns::detail
