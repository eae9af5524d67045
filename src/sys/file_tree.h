// FileTree: /proc and /sys read through a root, so that a recorded machine reads like the one we run on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace weir::sys {

/// A tree of small text files. Paths are relative to its root ("sys/class/net/eth0/mtu"). What does not exist, or goes
/// away while it is read (a device that is removed), is Errc::not_found. Cheap to copy; copies share the root.
class FileTree {
 public:
  /// The tree below `root`: "/" for this machine, a directory of tests/data/root for a fake one.
  static Result<FileTree> open(const std::string& root = "/");
  /// The tree below an open directory, for example a sysfs that is mounted nowhere (fsmount(2)).
  static FileTree adopt(Fd root);

  /// The tree below one of its directories.
  [[nodiscard]] Result<FileTree> subtree(const std::string& path) const;
  /// The whole file, without white space at both ends.
  [[nodiscard]] Result<std::string> text(const std::string& path) const;
  /// An unsigned decimal number, or a hexadecimal one after "0x".
  [[nodiscard]] Result<std::uint64_t> number(const std::string& path) const;
  /// CPUs or queues of a list file ("0-3,8"), ascending.
  [[nodiscard]] Result<std::vector<std::uint32_t>> cpu_list(const std::string& path) const;
  /// CPUs or queues of a mask file ("ff,ffffffff"), ascending.
  [[nodiscard]] Result<std::vector<std::uint32_t>> cpu_mask(const std::string& path) const;
  /// The names in a directory, sorted, without "." and "..".
  [[nodiscard]] Result<std::vector<std::string>> directory(const std::string& path) const;
  /// Where a symbolic link points to.
  [[nodiscard]] Result<std::string> link_target(const std::string& path) const;

 private:
  explicit FileTree(std::shared_ptr<const Fd> root) : root_(std::move(root)) {}
  std::shared_ptr<const Fd> root_;
};

}  // namespace weir::sys
