// Namespaces with a name: bind mounts under /run/netns, laid out as ip-netns(8) does, so that both see the same ones.
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <span>
#include <system_error>
#include <thread>

#include "netns/netns.h"
#include "netns/ns_file.h"
#include "sys/scratch_thread.h"

namespace weir::netns {

namespace {

/// Which mount /run/netns is; 0 when it is none.
std::uint64_t mount_of_directory() {
  // Linux 6.8: ids that are not given again (STATX_MNT_ID_UNIQUE); without it the number of 5.8.
  constexpr unsigned kUniqueMountId = 0x4000;
  struct statx info {};
  if (::statx(AT_FDCWD, detail::kNamedDir, 0, STATX_MNT_ID | kUniqueMountId, &info) != 0) return 0;
  return (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 ? info.stx_mnt_id : 0;
}

/// The mount that this process has made sure is shared. To make sure again costs a walk over all names.
std::atomic<std::uint64_t> shared_mount{0};

/// Makes /run/netns a shared mount point, so that names made in one mount namespace are seen in the others. ip(8) takes
/// the same lock: two that do this at once would stack mounts that hide names.
Result<void> prepare_directory() {
  if (const std::uint64_t known = shared_mount.load(); known != 0 && known == mount_of_directory()) return {};
  if (::mkdir(detail::kNamedDir, 0755) != 0 && errno != EEXIST) return fail_errno(errno, detail::kNamedDir);
  const sys::Fd lock(::open(detail::kNamedDir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.valid()) return fail_errno(errno, detail::kNamedDir);
  if (::flock(lock.get(), LOCK_EX) != 0) return fail_errno(errno, std::string("locking ") + detail::kNamedDir);
  if (::mount("", detail::kNamedDir, "none", MS_SHARED | MS_REC, nullptr) == 0) {
    shared_mount = mount_of_directory();
    return {};
  }
  if (errno != EINVAL) return fail_errno(errno, std::string("sharing ") + detail::kNamedDir);
  // EINVAL: not a mount point yet.
  if (::mount(detail::kNamedDir, detail::kNamedDir, "none", MS_BIND | MS_REC, nullptr) != 0 ||
      ::mount("", detail::kNamedDir, "none", MS_SHARED | MS_REC, nullptr) != 0) {
    return fail_errno(errno, std::string("mounting ") + detail::kNamedDir);
  }
  shared_mount = mount_of_directory();
  return {};
}

Result<void> bring_loopback_up() {
  const sys::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail_errno(errno, "socket");
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return fail_errno(errno, "reading the state of lo");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno(errno, "bringing lo up");
  return {};
}

/// Gives the calling thread's namespace a name. The mount is prepared before the name exists, because a watcher that
/// opens the name before the mount stands on it gets a plain file.
Result<void> publish(const std::string& path) {
  const sys::Fd tree(::open_tree(AT_FDCWD, "/proc/thread-self/ns/net", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree.valid()) return fail_errno(errno, "preparing the mount of the namespace");
  const sys::Fd place(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0));
  if (!place.valid()) {
    if (errno == EEXIST) return fail(Errc::busy, path + " already exists");
    return fail_errno(errno, path);
  }
  if (::move_mount(tree.get(), "", AT_FDCWD, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0) return {};
  const int err = errno;
  ::unlink(path.c_str());
  return fail_errno(err, "mounting the namespace on " + path);
}

Error with_root_hint(Error error) {
  if (error.code == Errc::permission && error.hint.empty()) error.hint = "run as root (CAP_SYS_ADMIN)";
  return error;
}

Error unshare_error(int err) {
  Error error = errno_error(err, "unshare");
  if (err == ENOSPC) error.hint = "the limit user.max_net_namespaces is reached (sysctl), here or further out";
  return error;
}

/// Moves the calling thread, which is to be thrown away, into a new namespace with loopback up.
Result<Netns> make_here() {
  if (::unshare(CLONE_NEWNET) != 0) return std::unexpected(unshare_error(errno));
  if (auto up = bring_loopback_up(); !up) return pass(std::move(up));
  return Netns::current();
}

/// The same, with a name.
Result<Netns> make_named_here(const std::string& name) {
  const std::string path = detail::kNamedDir + ("/" + name);
  // Looked at first only to spare the kernel a namespace; publish() decides.
  if (struct stat st{}; ::lstat(path.c_str(), &st) == 0) return fail(Errc::busy, path + " already exists");
  auto made = make_here();
  if (!made) return made;
  if (auto published = publish(path); !published) return pass(std::move(published));
  return made;
}

std::string creating(const std::string& name) {
  return "creating network namespace \"" + name + "\"";
}

/// Every `step`th name from `first` on, until one fails or another thread's has.
Result<void> make_share(std::span<const std::string> names, std::vector<std::optional<Netns>>& made, std::size_t first,
                        std::size_t step, std::atomic<bool>& failed) {
  return sys::on_scratch_thread([&]() -> Result<void> {
    for (std::size_t i = first; i < names.size() && !failed; i += step) {
      auto ns = make_named_here(names[i]);
      if (!ns) {
        failed = true;
        return std::unexpected(with_root_hint(std::move(ns).error()).with_context(creating(names[i])));
      }
      made[i] = std::move(*ns);
    }
    return {};
  });
}

/// A few threads for all: to start one costs a tenth of a namespace where a CPU is idle and more than a namespace where
/// none is, and the kernel makes namespaces side by side, but mounts one at a time.
Result<void> make_in_shares(std::span<const std::string> names, std::vector<std::optional<Netns>>& made) {
  constexpr std::size_t kMostThreads = 4;
  constexpr std::size_t kNamesAThread = 32;
  const std::size_t useful = std::min<std::size_t>(std::thread::hardware_concurrency(), names.size() / kNamesAThread);
  const std::size_t shares = std::clamp<std::size_t>(useful, 1, kMostThreads);
  std::atomic<bool> failed{false};
  std::vector<Result<void>> done(shares);
  {
    std::vector<std::jthread> others;
    for (std::size_t share = 1; share < shares; ++share) {
      const auto make = [&, share] { done[share] = make_share(names, made, share, shares, failed); };
      try {
        others.emplace_back(make);
      } catch (const std::system_error&) {
        make();  // no thread to be had: here, then
      }
    }
    done[0] = make_share(names, made, 0, shares, failed);
  }
  for (auto& one : done) {
    if (!one) return one;
  }
  return {};
}

}  // namespace

Result<Netns> Netns::create() {
  std::optional<Netns> made;
  auto done = sys::on_scratch_thread([&]() -> Result<void> {
    auto ns = make_here();
    if (!ns) return pass(std::move(ns));
    made = std::move(*ns);
    return {};
  });
  if (!done) return std::unexpected(with_root_hint(std::move(done).error()).with_context("creating network namespace"));
  return std::move(*made);
}

Result<Netns> Netns::create_named(const std::string& name) {
  auto made = create_many(std::span(&name, 1));
  if (!made) return pass(std::move(made));
  return std::move(made->front());
}

Result<std::vector<Netns>> Netns::create_many(std::span<const std::string> names) {
  std::vector<Netns> made;
  if (names.empty()) return made;
  for (const std::string& name : names) {
    if (auto checked = detail::check_name(name); !checked) return pass(std::move(checked));
  }
  if (auto ready = prepare_directory(); !ready) {
    return std::unexpected(with_root_hint(std::move(ready).error()).with_context(creating(names.front())));
  }
  std::vector<std::optional<Netns>> all(names.size());
  auto done = make_in_shares(names, all);
  if (!done) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (all[i]) static_cast<void>(remove_named(names[i]));
    }
    return pass(std::move(done));
  }
  made.reserve(names.size());
  for (auto& ns : all) made.push_back(std::move(*ns));
  return made;
}

Result<void> Netns::remove_named(const std::string& name) {
  if (auto checked = detail::check_name(name); !checked) return checked;
  const std::string path = detail::kNamedDir + ("/" + name);
  const std::string what = "removing network namespace \"" + name + "\"";
  // One name may carry several mounts, of which only the uppermost shows; EINVAL says that none is left.
  while (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  if (errno == ENOENT) return fail(Errc::not_found, "no network namespace \"" + name + "\"");
  if (errno != EINVAL) return std::unexpected(with_root_hint(errno_error(errno, what)));
  if (::unlink(path.c_str()) != 0) return std::unexpected(with_root_hint(errno_error(errno, what)));
  return {};
}

}  // namespace weir::netns
