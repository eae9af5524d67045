#include "sys/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>

#include "base/text.h"

namespace weir::sys {

namespace {

/// Whether the locked file still is the one at `path`: its last holder may have removed it before we got the lock.
bool still_there(int fd, const std::string& path) {
  struct stat held {};
  struct stat there {};
  return ::fstat(fd, &held) == 0 && ::stat(path.c_str(), &there) == 0 && held.st_dev == there.st_dev &&
         held.st_ino == there.st_ino;
}

std::string holder(int fd) {
  std::array<char, 32> text;
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  const auto pid = size > 0 ? parse_u64(trim({text.data(), static_cast<std::size_t>(size)})) : std::nullopt;
  return pid ? "process " + std::to_string(*pid) : "another process";
}

}  // namespace

Result<LockFile> LockFile::acquire(const std::string& name, const std::string& directory) {
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno(errno, directory);
  const std::string path = directory + "/" + name + ".lock";
  for (;;) {
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!fd.valid()) return fail_errno(errno, path);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) return fail_errno(errno, path);
      return fail(Errc::busy, path + " is held by " + holder(fd.get()));
    }
    if (!still_there(fd.get(), path)) continue;
    const std::string pid = std::to_string(::getpid()) + "\n";
    if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
      return fail_errno(errno, path);
    }
    return LockFile(std::move(fd), path);
  }
}

LockFile::~LockFile() {
  if (fd_.valid()) ::unlink(path_.c_str());  // before the lock goes, so that nobody's new file is hit
}

}  // namespace weir::sys
