#include "netns/mounts.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/fd.h"

namespace weir::netns::detail {

std::vector<NsMount> parse_ns_mounts(std::string_view mountinfo) {
  constexpr std::string_view kRoot = " net:[";
  std::vector<NsMount> mounts;
  // One search for what few lines have, instead of taking every line apart.
  for (std::size_t at = mountinfo.find(kRoot); at != std::string_view::npos; at = mountinfo.find(kRoot, at + 1)) {
    const std::size_t start = mountinfo.rfind('\n', at) + 1;  // npos + 1 is 0
    const std::string_view line = mountinfo.substr(start, mountinfo.find('\n', at) - start);
    // ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG …] - TYPE SOURCE SUPER
    const auto fields = split(line, ' ');
    if (fields.size() < 6 || line.find(" - nsfs ") == std::string_view::npos) continue;
    const std::string_view root = fields[3];
    if (!root.starts_with(kRoot.substr(1)) || !root.ends_with(']')) continue;
    const auto id = parse_u64(fields[0]);
    const auto inode = parse_u64(root.substr(kRoot.size() - 1, root.size() - kRoot.size()));
    if (id && inode) mounts.push_back({*id, *inode, unescape_octal(fields[4])});
  }
  return mounts;
}

Result<std::string> read_proc_file(const std::string& path) {
  const sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, path);
  std::string text(4096, '\0');
  std::size_t used = 0;
  for (;;) {
    const ssize_t got = ::read(fd.get(), text.data() + used, text.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, path);
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
    if (text.size() - used < 1024) text.resize(text.size() * 4);
  }
  text.resize(used);
  return text;
}

Result<std::vector<NsMount>> read_ns_mounts(const std::string& path) {
  auto text = read_proc_file(path);
  if (!text) return pass(std::move(text));
  return parse_ns_mounts(*text);
}

}  // namespace weir::netns::detail
