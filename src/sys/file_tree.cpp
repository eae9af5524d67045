#include "sys/file_tree.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <climits>

#include "base/text.h"
#include "sys/cpu_list.h"

namespace weir::sys {

namespace {
template <class T>
Result<T> in_file(Result<T> parsed, const std::string& path) {
  if (!parsed) return pass(std::move(parsed), path);
  return parsed;
}
}  // namespace

Result<FileTree> FileTree::open(const std::string& root) {
  Fd fd(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, root);
  return adopt(std::move(fd));
}

FileTree FileTree::adopt(Fd root) {
  return FileTree(std::make_shared<const Fd>(std::move(root)));
}

Result<FileTree> FileTree::subtree(const std::string& path) const {
  Fd fd(::openat(root_->get(), path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, path);
  return adopt(std::move(fd));
}

Result<std::string> FileTree::text(const std::string& path) const {
  const Fd fd(::openat(root_->get(), path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, path);
  std::string content;
  std::array<char, 4096> block;
  for (;;) {
    const ssize_t got = ::read(fd.get(), block.data(), block.size());
    if (got > 0) {
      content.append(block.data(), static_cast<std::size_t>(got));
    } else if (got == 0) {
      return std::string(trim(content));
    } else if (errno != EINTR) {
      return fail_errno(errno, path);
    }
  }
}

Result<std::uint64_t> FileTree::number(const std::string& path) const {
  auto content = text(path);
  if (!content) return pass(std::move(content));
  const auto value = content->starts_with("0x") ? parse_u64(content->substr(2), 16) : parse_u64(*content);
  if (!value) return fail(Errc::failed, path + ": \"" + content->substr(0, 40) + "\" is not a number");
  return *value;
}

Result<std::vector<std::uint32_t>> FileTree::cpu_list(const std::string& path) const {
  auto content = text(path);
  if (!content) return pass(std::move(content));
  return in_file(parse_cpu_list(*content), path);
}

Result<std::vector<std::uint32_t>> FileTree::cpu_mask(const std::string& path) const {
  auto content = text(path);
  if (!content) return pass(std::move(content));
  return in_file(parse_cpu_mask(*content), path);
}

Result<std::vector<std::string>> FileTree::directory(const std::string& path) const {
  Fd fd(::openat(root_->get(), path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, path);
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd.get()), ::closedir);
  if (!dir) return fail_errno(errno, path);
  [[maybe_unused]] const int owned_by_dir = std::move(fd).release();
  std::vector<std::string> names;
  for (errno = 0; const dirent* entry = ::readdir(dir.get()); errno = 0) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return fail_errno(errno, path);
  std::ranges::sort(names);
  return names;
}

Result<std::string> FileTree::link_target(const std::string& path) const {
  std::array<char, PATH_MAX> target;
  const ssize_t size = ::readlinkat(root_->get(), path.c_str(), target.data(), target.size());
  if (size < 0) return fail_errno(errno, path);
  return std::string(target.data(), static_cast<std::size_t>(size));
}

}  // namespace weir::sys
