// BPF objects that outlive their process: a folder of a BPF file system, made whole or not at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "sys/fd.h"
#include "sys/lock_file.h"

namespace weir::bpf {

/// Where the pins of one owner are: DIR/weir-N, of which the highest N counts. New ones are made in DIR/weir-making and
/// renamed when they are complete, so that whoever is killed leaves either all of them or what the next one removes.
/// The owner holds a lock in /run/weir for as long as this object lives.
class [[nodiscard]] PinFolder {
 public:
  /// Mounts a BPF file system on `directory` when it is in none. Half-made pins are removed. Errc::busy, naming the
  /// process, while somebody else owns it; Errc::failed when the directory holds files of another file system.
  static Result<PinFolder> open(const std::string& directory);
  /// Whether there is anything to open: pins or an empty mount of a process that was killed.
  static bool exists(const std::string& directory);

  PinFolder(PinFolder&&) noexcept = default;
  PinFolder& operator=(PinFolder&&) = delete;
  PinFolder(const PinFolder&) = delete;
  PinFolder& operator=(const PinFolder&) = delete;
  /// Half-made pins go; without any pins the mount and the directory as well. What is complete stays.
  ~PinFolder();

  /// The N of the pins that count; 0 without any.
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
  /// One of them. Errc::not_found when there is none of this name.
  [[nodiscard]] Result<sys::Fd> get(const std::string& name) const;

  /// Pins into what is being made. Dots in names become underscores, because the kernel reserves them.
  Result<void> pin(int fd, const std::string& name);
  /// What is being made counts from now on, as `generation`, which must be higher than generation().
  Result<void> commit(std::uint64_t generation);
  /// Removes all pins but those that count.
  Result<void> remove_older();
  /// Removes everything: pins, files beside them, the mount. Programs and maps go when nobody else holds them.
  Result<void> remove_all();

  /// Path of a file beside the pins, in /run/weir, that goes with remove_all().
  [[nodiscard]] std::string side_file(const std::string& suffix) const;

 private:
  PinFolder(std::string directory, std::string name, sys::LockFile lock)
      : directory_(std::move(directory)), name_(std::move(name)), lock_(std::move(lock)) {}
  Result<void> mount_if_needed();
  Result<void> remove_folders(std::uint64_t below);
  void unmount_if_empty() noexcept;

  std::string directory_;  ///< empty when moved from
  std::string name_;
  std::uint64_t generation_ = 0;
  sys::LockFile lock_;
};

}  // namespace weir::bpf
