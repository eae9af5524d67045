#include "netns/registry_sources.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "netns/ns_file.h"

namespace weir::netns::detail {

namespace {

// Younger than the headers of the oldest machine that builds this: linux/fanotify.h of 6.15, linux/mount.h and
// linux/stat.h of 6.8.
constexpr unsigned kFanReportMnt = 0x00004000;
constexpr unsigned kFanMarkMntns = 0x00000110;
constexpr std::uint64_t kFanMntAttach = 0x01000000;
constexpr std::uint64_t kFanMntDetach = 0x02000000;
constexpr std::uint8_t kFanEventInfoTypeMnt = 7;
constexpr unsigned kStatxMntIdUnique = 0x00004000;
constexpr long kSysStatmount = 457;
constexpr std::uint64_t kStatmountSbBasic = 0x01;
constexpr std::uint64_t kStatmountMntRoot = 0x08;
constexpr std::uint64_t kStatmountMntPoint = 0x10;

struct InfoMnt {
  fanotify_event_info_header header;
  std::uint64_t mount_id;
};

struct MntIdReq {
  std::uint32_t size;
  std::uint32_t spare;
  std::uint64_t mount_id;
  std::uint64_t param;
};
static_assert(sizeof(MntIdReq) == 24);  // MNT_ID_REQ_SIZE_VER0

/// struct statmount up to what is used here; strings start at its byte 512.
struct Statmount {
  std::uint32_t size;
  std::uint32_t mnt_opts;
  std::uint64_t mask;
  std::uint32_t sb_dev_major;
  std::uint32_t sb_dev_minor;
  std::uint64_t sb_magic;
  std::uint32_t unused[18];
  std::uint32_t mnt_root;
  std::uint32_t mnt_point;
  std::uint64_t more[50];
};
static_assert(offsetof(Statmount, mnt_root) == 104 && sizeof(Statmount) == 512);

}  // namespace

std::uint64_t unique_mount_id(int fd) {
  struct statx found {};
  if (::statx(fd, "", AT_EMPTY_PATH, kStatxMntIdUnique, &found) != 0) return 0;
  return (found.stx_mask & kStatxMntIdUnique) != 0 ? found.stx_mnt_id : 0;
}

std::uint64_t visible_mount_id(const std::string& path) {
  struct statx found {};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &found) != 0) return 0;
  return found.stx_mnt_id;
}

Result<MountEvents> MountEvents::open() {
  sys::Fd fd(::fanotify_init(kFanReportMnt | FAN_CLOEXEC | FAN_NONBLOCK, 0));
  if (!fd.valid()) {
    if (errno == EINVAL) return fail(Errc::unsupported, "this kernel has no mount events", "Linux 6.15 has them");
    return fail_errno(errno, "fanotify");
  }
  const sys::Fd ns(::open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC));
  if (!ns.valid()) return fail_errno(errno, "this thread's mount namespace");
  if (::fanotify_mark(fd.get(), FAN_MARK_ADD | kFanMarkMntns, kFanMntAttach | kFanMntDetach, ns.get(), nullptr) != 0) {
    return fail_errno(errno, "subscribing to mount events");
  }
  return MountEvents(std::move(fd));
}

Result<bool> MountEvents::drain(const std::function<void(const Event&)>& take) {
  alignas(fanotify_event_metadata) std::array<char, 16384> buffer;
  bool complete = true;
  for (;;) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return complete;
    if (got < 0) return fail_errno(errno, "reading mount events");
    std::size_t left = static_cast<std::size_t>(got);
    for (const char* at = buffer.data(); left >= sizeof(fanotify_event_metadata);) {
      fanotify_event_metadata event{};
      std::memcpy(&event, at, sizeof event);
      if (event.event_len < sizeof event || event.event_len > left) break;
      if ((event.mask & FAN_Q_OVERFLOW) != 0) complete = false;
      InfoMnt info{};
      if (event.event_len >= event.metadata_len + sizeof info) std::memcpy(&info, at + event.metadata_len, sizeof info);
      if (info.header.info_type == kFanEventInfoTypeMnt) {
        // One event may stand for both, in whichever order: then it is the present that counts.
        if ((event.mask & kFanMntDetach) != 0) take({false, info.mount_id});
        if ((event.mask & kFanMntAttach) != 0) take({true, info.mount_id});
      }
      at += event.event_len;
      left -= event.event_len;
    }
  }
}

std::optional<MountFacts> mount_facts(std::uint64_t mount_id) {
  constexpr std::uint64_t kWanted = kStatmountSbBasic | kStatmountMntRoot | kStatmountMntPoint;
  MntIdReq request{sizeof(MntIdReq), 0, mount_id, kWanted};
  std::vector<char> answer(1024);
  while (::syscall(kSysStatmount, &request, answer.data(), answer.size(), 0) != 0) {
    if (errno != EOVERFLOW || answer.size() > 1U << 20) return std::nullopt;
    answer.resize(answer.size() * 4);
  }
  Statmount facts{};
  std::memcpy(&facts, answer.data(), sizeof facts);
  if ((facts.mask & kWanted) != kWanted) return std::nullopt;
  const auto text = [&](std::uint32_t offset) -> std::string {
    const std::size_t start = sizeof(Statmount) + offset;
    return start < answer.size() ? std::string(&answer[start], ::strnlen(&answer[start], answer.size() - start)) : "";
  };
  return MountFacts{text(facts.mnt_point), facts.sb_magic == kNsfsMagic && text(facts.mnt_root).starts_with("net:[")};
}

Result<DirectoryWatch> DirectoryWatch::open(const std::vector<std::string>& directories) {
  DirectoryWatch watch(sys::Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)));
  if (!watch.fd_.valid()) {
    Error error = errno_error(errno, "inotify");
    if (error.sys_errno == EMFILE) error.hint = "see fs.inotify.max_user_instances and ulimit -n";
    return std::unexpected(std::move(error));
  }
  for (const std::string& directory : directories) watch.places_[directory];
  if (auto armed = watch.rearm(); !armed) return pass(std::move(armed));
  return watch;
}

std::optional<DirectoryWatch::Stamp> DirectoryWatch::stamp_of(const std::string& directory) {
  struct statx found {};
  if (::statx(AT_FDCWD, directory.c_str(), 0, STATX_INO | STATX_MNT_ID, &found) != 0) return std::nullopt;
  if (!S_ISDIR(found.stx_mode)) return std::nullopt;
  const std::uint64_t device = static_cast<std::uint64_t>(found.stx_dev_major) << 32 | found.stx_dev_minor;
  return Stamp{found.stx_mnt_id, device, found.stx_ino};
}

Result<void> DirectoryWatch::watch_ancestor(const std::string& directory) {
  // The nearest one that exists. It may go, or the next one come, before it is watched: the caller looks again.
  for (std::string at = directory; at.size() > 1;) {
    at.resize(std::max<std::size_t>(at.rfind('/'), 1));
    const int watch = ::inotify_add_watch(fd_.get(), at.c_str(), IN_CREATE | IN_MOVED_TO | IN_MASK_ADD | IN_ONLYDIR);
    if (watch >= 0) {
      roles_[watch].ancestor = true;
      return {};
    }
    if (errno != ENOENT && errno != ENOTDIR) return fail_errno(errno, "watching " + at);
  }
  return fail(Errc::failed, "watching " + directory + ": it has no parent");
}

Result<bool> DirectoryWatch::rearm_one(const std::string& directory, Place& place) {
  constexpr int kMostAttempts = 100;
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    const auto stamp = stamp_of(directory);
    if (stamp && stamp == place.stamp) return false;
    if (!stamp) {
      const bool was_there = place.stamp.has_value();
      place = {};
      if (auto watched = watch_ancestor(directory); !watched) return pass(std::move(watched));
      if (stamp_of(directory)) continue;  // it came before its parent was watched
      return was_there;
    }
    const int watch = ::inotify_add_watch(
        fd_.get(), directory.c_str(),
        IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_MASK_ADD | IN_ONLYDIR);
    if (watch < 0 && errno != ENOENT && errno != ENOTDIR) return fail_errno(errno, "watching " + directory);
    if (watch < 0) continue;
    if (place.watch >= 0 && place.watch != watch && !roles_[place.watch].ancestor) {
      ::inotify_rm_watch(fd_.get(), place.watch);
      roles_.erase(place.watch);
    }
    roles_[watch].directory = directory;
    place = {stamp, watch};
    return true;
  }
  return fail(Errc::busy, directory + " changes faster than it can be watched");
}

Result<std::vector<std::string>> DirectoryWatch::rearm() {
  std::vector<std::string> changed;
  for (auto& [directory, place] : places_) {
    auto other = rearm_one(directory, place);
    if (!other) return pass(std::move(other));
    if (*other) changed.push_back(directory);
  }
  return changed;
}

Result<DirectoryWatch::Drained> DirectoryWatch::drain() {
  Drained drained;
  alignas(inotify_event) std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return drained;
    if (got < 0) return fail_errno(errno, "reading directory events");
    for (std::size_t at = 0; at + sizeof(inotify_event) <= static_cast<std::size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, &buffer[at], sizeof event);
      const char* name = &buffer[at + sizeof event];
      at += sizeof event + event.len;
      if ((event.mask & IN_Q_OVERFLOW) != 0) drained.lost = drained.disturbed = true;
      const auto role = roles_.find(event.wd);
      if (role == roles_.end()) continue;
      if (role->second.ancestor || (event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0) {
        drained.disturbed = true;
      }
      if (event.len > 0 && !role->second.directory.empty()) {
        drained.paths.insert(role->second.directory + "/" + name);
      }
      if ((event.mask & IN_IGNORED) != 0) {
        if (const auto place = places_.find(role->second.directory); place != places_.end()) place->second = {};
        roles_.erase(role);
      }
    }
  }
}

}  // namespace weir::netns::detail
