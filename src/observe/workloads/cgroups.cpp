#include "observe/workloads/cgroups.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstring>
#include <memory>

#include "base/text.h"
#include "observe/workloads/proc.h"

namespace weir::observe {

namespace {

constexpr std::chrono::seconds kWalkAgainAfter{1};
constexpr std::size_t kMostWalked = 65536;
constexpr std::size_t kMostProcesses = 4096;
constexpr int kFileIdKernfs = 0xfe;  // FILEID_KERNFS of linux/exportfs.h

/// A mount of cgroup v2 that is attached nowhere. Only where /proc says that it is in use: the first mount of it on a
/// host is what makes it so.
sys::Fd mount_privately() {
  const auto own = proc::text("/proc/thread-self/cgroup");
  if (!own || (!own->starts_with("0::") && own->find("\n0::") == std::string::npos)) return {};
  const sys::Fd context(::fsopen("cgroup2", FSOPEN_CLOEXEC));
  if (!context.valid() || ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return {};
  const sys::Fd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
  if (!mount.valid()) return {};
  // fsmount(2) gives a descriptor with which nothing can be listed.
  return sys::Fd(::openat(mount.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

std::string path_of(const sys::Fd& fd) {
  return proc::link("/proc/thread-self/fd/" + std::to_string(fd.get()));
}

}  // namespace

CgroupMounts parse_cgroup_mounts(std::string_view mountinfo) {
  CgroupMounts mounts;
  bool whole = false;
  for (const std::string_view line : split(mountinfo, '\n')) {
    // ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG …] - TYPE SOURCE SUPER
    const auto fields = split(line, ' ');
    const std::size_t dash = line.find(" - ");
    if (fields.size() < 6 || dash == std::string_view::npos) continue;
    const std::string_view type = split(line.substr(dash + 3), ' ').front();
    if (type == "cgroup") mounts.legacy = true;
    if (type != "cgroup2" || whole) continue;
    whole = fields[3] == "/";
    if (whole || mounts.unified.empty()) mounts.unified = unescape_octal(fields[4]);
  }
  return mounts;
}

Cgroups Cgroups::open() {
  Cgroups cgroups;
  CgroupMounts mounts;
  if (const auto text = proc::text("/proc/thread-self/mountinfo")) mounts = parse_cgroup_mounts(*text);
  cgroups.legacy_ = mounts.legacy;
  if (!mounts.unified.empty()) {
    cgroups.root_ = sys::Fd(::open(mounts.unified.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  if (!cgroups.root_.valid()) cgroups.root_ = mount_privately();
  return cgroups;
}

Result<std::string> Cgroups::path_by_handle(std::uint64_t id) const {
  alignas(file_handle) std::array<unsigned char, sizeof(file_handle) + sizeof id> storage{};
  auto* handle = reinterpret_cast<file_handle*>(storage.data());
  handle->handle_bytes = sizeof id;
  handle->handle_type = kFileIdKernfs;
  std::memcpy(storage.data() + sizeof(file_handle), &id, sizeof id);
  const sys::Fd fd(::open_by_handle_at(root_.get(), handle, O_PATH | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ESTALE || errno == ENOENT) return fail(Errc::not_found, "no such cgroup");
    return fail_errno(errno, "opening a cgroup by its id");
  }
  std::string path = path_of(fd);
  const std::string root = path_of(root_);
  if (path.ends_with(" (deleted)")) return fail(Errc::not_found, "no such cgroup");
  if (root != "/" && path.starts_with(root)) path.erase(0, root.size());
  return path.empty() ? std::string("/") : path;
}

void Cgroups::walk(const sys::Fd& directory, const std::string& path) {
  const int copy = ::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(copy < 0 ? nullptr : ::fdopendir(copy), ::closedir);
  if (!dir) return;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (entry->d_type != DT_DIR || name == "." || name == "..") continue;
    if (walked_.size() >= kMostWalked) return;
    const std::string below = path + "/" + entry->d_name;
    walked_[entry->d_ino] = below;
    const sys::Fd child(::openat(directory.get(), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (child.valid()) walk(child, below);
  }
}

Result<std::string> Cgroups::path_by_walk(std::uint64_t id) {
  if (const auto known = walked_.find(id); known != walked_.end()) return known->second;
  const auto now = std::chrono::steady_clock::now();
  if (now - walked_at_ < kWalkAgainAfter) return fail(Errc::busy, "the cgroups have just been looked at");
  walked_at_ = now;
  walked_.clear();
  struct stat st {};
  if (::fstat(root_.get(), &st) == 0) walked_[st.st_ino] = "/";
  walk(root_, "");
  const auto found = walked_.find(id);
  if (found == walked_.end()) return fail(Errc::not_found, "no such cgroup");
  return found->second;
}

Result<std::string> Cgroups::path(std::uint64_t id) {
  if (!root_.valid()) return fail(Errc::unsupported, "cgroup v2 is not to be had here");
  if (by_handle_) {
    auto path = path_by_handle(id);
    if (path || path.error().code == Errc::not_found) return path;
    const int err = path.error().sys_errno;
    if (err == EMFILE || err == ENFILE || err == ENOMEM) return path;
    by_handle_ = false;  // not allowed in this user namespace, or a kernel without such handles
  }
  return path_by_walk(id);
}

std::vector<pid_t> Cgroups::processes(const std::string& path) const {
  const sys::Fd fd(::openat(root_.get(), ("." + path + "/cgroup.procs").c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<pid_t> pids;
  const auto text = proc::text(fd);
  if (!text) return pids;
  for (const std::string_view line : split(*text, '\n')) {
    if (const auto pid = parse_u64(line); pid && *pid != 0) pids.push_back(static_cast<pid_t>(*pid));
  }
  return pids;
}

Result<std::optional<netns::Workload>> Cgroups::workload(std::uint64_t id) {
  const auto found = path(id);
  if (!found) return std::unexpected(found.error());
  auto workload = netns::workload_of_cgroup(*found);
  if (!legacy_ || *found == "/" || (workload && workload->walled())) return workload;
  std::vector<netns::Workload> inside;
  const std::vector<pid_t> pids = processes(*found);
  if (pids.size() > kMostProcesses) return workload;
  for (const pid_t pid : pids) {
    if (auto one = workload_of_process(pid); one && one->walled()) inside.push_back(std::move(*one));
  }
  // A service of which containers are made is not them: with several there is no telling from here.
  return inside.empty() ? workload : netns::owner_of_shared(inside);
}

std::optional<netns::Workload> workload_of_process(pid_t pid) {
  const auto text = proc::text("/proc/" + std::to_string(pid) + "/cgroup");
  return text ? netns::workload_of_cgroup_file(*text) : std::nullopt;
}

}  // namespace weir::observe
