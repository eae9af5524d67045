#include "observe/workloads/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <memory>

#include "base/text.h"

namespace weir::observe::proc {

std::optional<std::string> text(const sys::Fd& fd) {
  std::string all;
  std::array<char, 4096> chunk{};
  while (fd.valid()) {
    const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return all;
    all.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return std::nullopt;
}

std::optional<std::string> text(const std::string& path) {
  return text(sys::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)));
}

std::string link(const std::string& path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  return length <= 0 ? std::string() : std::string(target.data(), static_cast<std::size_t>(length));
}

std::vector<int> numbers(const std::string& path) {
  std::vector<int> all;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return all;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (const auto number = parse_u64(entry->d_name)) all.push_back(static_cast<int>(*number));
  }
  return all;
}

}  // namespace weir::observe::proc
