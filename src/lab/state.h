// What labs have made on this host, on disk, so that whoever comes next can remove it: /run/weir/lab/.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/blueprint.h"
#include "sys/fd.h"

namespace weir::lab {

/// A namespace that a lab made. `id` is 0 between announcing it and having made it.
struct MadeNamespace {
  std::string name;
  std::uint64_t id = 0;
};

/// The record of one lab: PREFIX.json. It is written before anything is made and removed after everything is gone.
struct Record {
  std::string prefix;
  std::string scenario;
  std::string boot_id;  ///< of the boot in which it was made
  pid_t pid = 0;        ///< who made it
  bool kept = false;    ///< made to stay (`weir lab up`); else it belongs to a process that holds the lock
  std::vector<MadeNamespace> namespaces;
};

/// The right to build under, or to clean, one prefix. Held through flock(2) on PREFIX.lock, so it ends with the
/// process, however that ends. Removes the lock file, and emptied folders, when it goes.
class [[nodiscard]] PrefixLock {
 public:
  /// Errc::busy, naming the holder, when another process has it.
  static Result<PrefixLock> take(const std::string& prefix);

  PrefixLock(PrefixLock&&) noexcept = default;
  PrefixLock& operator=(PrefixLock&&) = delete;
  PrefixLock(const PrefixLock&) = delete;
  PrefixLock& operator=(const PrefixLock&) = delete;
  ~PrefixLock();

 private:
  PrefixLock(sys::Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  sys::Fd fd_;
  std::string path_;
};

/// The lab's document and its record in one file, replaced in one step. The caller holds the lock.
Result<void> write_record(const Record& record, const Blueprint& blueprint);

/// The record of a prefix; nothing when there is none. A damaged file is an error that names it.
Result<std::optional<Record>> read_record(const std::string& prefix);

/// Prefixes that have a record, sorted.
std::vector<std::string> recorded_prefixes();

/// Removes the namespaces of the record and then the record itself. A name that now means another namespace, or that is
/// gone, is left alone. The caller holds the lock.
Result<void> remove_recorded(const Record& record);

/// Path of the lab's document: /run/weir/lab/PREFIX.json.
std::string record_path(const std::string& prefix);

/// This boot's id.
std::string current_boot_id();

}  // namespace weir::lab
