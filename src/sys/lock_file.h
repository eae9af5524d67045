// One at a time: a lock that dies with its holder.
#pragma once

#include <string>

#include "base/result.h"
#include "sys/fd.h"

namespace weir::sys {

/// An exclusive lock DIR/NAME.lock, held until it is destroyed or the process ends, however that happens. The file
/// holds the holder's pid while it is locked and is removed afterwards.
class [[nodiscard]] LockFile {
 public:
  /// Errc::busy, naming the pid of the holder, when somebody has it.
  static Result<LockFile> acquire(const std::string& name, const std::string& directory = "/run/weir");
  LockFile(LockFile&&) noexcept = default;
  LockFile& operator=(LockFile&&) = delete;
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;
  ~LockFile();

 private:
  LockFile(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Fd fd_;
  std::string path_;
};

}  // namespace weir::sys
