#include "bpf/pin_folder.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text.h"

namespace weir::bpf {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kBpfFileSystem = 0xCAFE4A11;  // BPF_FS_MAGIC
constexpr const char* kSideFolder = "/run/weir";
constexpr const char* kMaking = "weir-making";
constexpr std::string_view kPrefix = "weir-";
constexpr const char* kMountSource = "weir";

bool is_bpf_file_system(const std::string& path) {
  struct statfs info {};
  return ::statfs(path.c_str(), &info) == 0 && static_cast<std::uint64_t>(info.f_type) == kBpfFileSystem;
}

/// Whether a BPF file system was mounted there by us, by the source that it was given.
bool is_our_mount(const std::string& directory) {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string source, point, type;
    if (words >> source >> point >> type && source == kMountSource && point == directory && type == "bpf") return true;
  }
  return false;
}

std::string pin_name(std::string name) {
  std::ranges::replace(name, '.', '_');
  return name;
}

/// The directory as one word.
std::string word_of(const std::string& directory) {
  std::string word = directory;
  std::ranges::replace(word, '/', '-');
  return word.substr(word.find_first_not_of('-'));
}

/// The N of "weir-N"; nothing for other names.
std::optional<std::uint64_t> generation_of(const fs::path& path) {
  const std::string name = path.filename();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  return parse_u64(std::string_view(name).substr(kPrefix.size()));
}

/// Whether there is anything but what the kernel itself puts into each such file system (maps.debug, progs.debug): only
/// it may use dots.
bool holds_pins(const fs::path& directory) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().filename().native().find('.') == std::string::npos) return true;
  }
  return false;
}

Result<void> remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return fail_errno(error.value(), "cannot remove " + path.string());
  return {};
}

}  // namespace

bool PinFolder::exists(const std::string& directory) {
  if (is_our_mount(directory)) return true;
  if (!is_bpf_file_system(directory)) return false;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().filename() == kMaking || generation_of(entry.path())) return true;
  }
  return false;
}

Result<PinFolder> PinFolder::open(const std::string& directory) {
  const std::string path = fs::path(directory).lexically_normal();
  if (!path.starts_with('/') || path == "/" || path.ends_with('/')) {
    return fail(Errc::usage, fmt::format("{}: a directory for pins must be an absolute path", directory));
  }
  const std::string name = word_of(path);
  auto lock = sys::LockFile::acquire(name, kSideFolder);
  if (!lock) return pass(std::move(lock), "pinned programs");
  PinFolder folder(path, name, *std::move(lock));
  if (auto mounted = folder.mount_if_needed(); !mounted) return pass(std::move(mounted));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    folder.generation_ = std::max(folder.generation_, generation_of(entry.path()).value_or(0));
  }
  if (error) return fail_errno(error.value(), path);
  if (auto removed = remove_tree(fs::path(path) / kMaking); !removed) return pass(std::move(removed));
  return folder;
}

PinFolder::~PinFolder() {
  if (directory_.empty()) return;
  static_cast<void>(remove_tree(fs::path(directory_) / kMaking));
  if (generation_ == 0) unmount_if_empty();
}

Result<void> PinFolder::mount_if_needed() {
  if (::mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(errno, directory_);
  if (is_bpf_file_system(directory_)) return {};
  std::error_code error;
  if (!fs::is_empty(directory_, error)) {
    return fail(Errc::failed, fmt::format("{}: holds files that are no BPF file system", directory_));
  }
  if (::mount(kMountSource, directory_.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
    const int err = errno;
    ::rmdir(directory_.c_str());
    return fail_errno(err, "cannot mount a BPF file system on " + directory_);
  }
  return {};
}

Result<sys::Fd> PinFolder::get(const std::string& name) const {
  const std::string path = fmt::format("{}/{}{}/{}", directory_, kPrefix, generation_, pin_name(name));
  sys::Fd fd(bpf_obj_get(path.c_str()));
  if (!fd.valid()) return fail_errno(errno, path);
  return fd;
}

Result<void> PinFolder::pin(int fd, const std::string& name) {
  const std::string folder = fmt::format("{}/{}", directory_, kMaking);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(errno, folder);
  const std::string path = folder + "/" + pin_name(name);
  if (const int err = bpf_obj_pin(fd, path.c_str()); err != 0) return fail_errno(err, "cannot pin " + path);
  return {};
}

Result<void> PinFolder::commit(std::uint64_t generation) {
  const std::string from = fmt::format("{}/{}", directory_, kMaking);
  const std::string to = fmt::format("{}/{}{}", directory_, kPrefix, generation);
  if (::rename(from.c_str(), to.c_str()) != 0) return fail_errno(errno, "cannot finish the pins in " + to);
  generation_ = generation;
  return {};
}

Result<void> PinFolder::remove_older() {
  return remove_folders(generation_);
}

Result<void> PinFolder::remove_folders(std::uint64_t below) {
  std::vector<fs::path> old;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    const auto generation = generation_of(entry.path());
    if (entry.path().filename() == kMaking || (generation && *generation < below)) old.push_back(entry.path());
  }
  if (error) return fail_errno(error.value(), directory_);
  const fs::path making = fs::path(directory_) / kMaking;
  // What is half-made first: the others take its name, so that none is ever half there under its own.
  std::ranges::partition(old, [&](const fs::path& path) { return path == making; });
  for (const fs::path& path : old) {
    if (path != making && ::rename(path.c_str(), making.c_str()) != 0) return fail_errno(errno, path);
    if (auto removed = remove_tree(making); !removed) return removed;
  }
  return {};
}

Result<void> PinFolder::remove_all() {
  if (auto removed = remove_folders(generation_ + 1); !removed) return removed;
  generation_ = 0;
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(kSideFolder, error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(name_ + ".") && name != name_ + ".lock") files.push_back(entry.path());
  }
  for (const fs::path& file : files) {
    if (auto removed = remove_tree(file); !removed) return removed;
  }
  unmount_if_empty();
  return {};
}

void PinFolder::unmount_if_empty() noexcept {
  if (holds_pins(directory_)) return;
  // Whoever still looks into it keeps an empty file system.
  if (is_our_mount(directory_)) ::umount2(directory_.c_str(), MNT_DETACH);
  ::rmdir(directory_.c_str());
}

std::string PinFolder::side_file(const std::string& suffix) const {
  return fmt::format("{}/{}.{}", kSideFolder, name_, suffix);
}

}  // namespace weir::bpf
