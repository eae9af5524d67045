// weir netns exec: runs a command inside a namespace, with the /sys and the /etc files that belong to it.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

#include "cli/netns.h"
#include "sys/fd.h"

namespace weir::cli {

namespace {

struct ExecOptions {
  std::string netns;
  std::vector<std::string> command;
};

/// What is mounted below /sys and belongs to the host, not to the namespace: a fresh sysfs would hide it.
constexpr std::array kHostMounts{"/sys/fs/cgroup",      "/sys/fs/bpf",          "/sys/kernel/debug",
                                 "/sys/kernel/tracing", "/sys/kernel/security", "/sys/fs/pstore"};

struct KeptMount {
  std::string point;
  sys::Fd tree;
};

std::vector<KeptMount> keep_host_mounts() {
  std::vector<KeptMount> kept;
  for (const char* point : kHostMounts) {
    sys::Fd tree(::open_tree(AT_FDCWD, point, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
    if (tree.valid()) kept.push_back({point, std::move(tree)});
  }
  return kept;
}

/// Mounts a sysfs of this namespace on /sys, in this mount namespace only.
Result<void> mount_own_sys() {
  struct statvfs before {};
  const bool read_only = ::statvfs("/sys", &before) == 0 && (before.f_flag & ST_RDONLY) != 0;
  const std::vector<KeptMount> kept = keep_host_mounts();
  if (::umount2("/sys", MNT_DETACH) != 0 && errno != EINVAL && errno != ENOENT) {
    return fail_errno(errno, "taking the host's /sys away");
  }
  unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (read_only) flags |= MS_RDONLY;
  if (::mount("sysfs", "/sys", "sysfs", flags, nullptr) != 0) {
    return fail_errno(errno, "mounting the /sys of the namespace");
  }
  for (const KeptMount& mount : kept) {
    // What cannot come back is missing, as it is for ip-netns(8); nothing of the namespace depends on it.
    static_cast<void>(::move_mount(mount.tree.get(), "", AT_FDCWD, mount.point.c_str(), MOVE_MOUNT_F_EMPTY_PATH));
  }
  return {};
}

/// Binds /etc/netns/NAME/FILE over /etc/FILE, as ip-netns(8) does.
Result<void> bind_etc_files(const std::string& name) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path("/etc/netns") / name;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const fs::path target = fs::path("/etc") / entry->path().filename();
    if (::mount(entry->path().c_str(), target.c_str(), "none", MS_BIND, nullptr) == 0) continue;
    // A file that the host lacks cannot be covered. Any other must be: the command would read the host's instead.
    if (errno != ENOENT) return fail_errno(errno, entry->path().string() + " over " + target.string());
    fmt::print(stderr, "weir: {} is not used: there is no {} to cover\n", entry->path().string(), target.string());
  }
  if (error && error != std::errc::no_such_file_or_directory) return fail_errno(error.value(), folder.string());
  return {};
}

/// The name whose files under /etc/netns count; empty for a namespace that was not given by name.
std::string configured_name(const std::string& spec) {
  constexpr std::string_view kPrefixes[] = {"/run/netns/", "/var/run/netns/"};
  for (const std::string_view prefix : kPrefixes) {
    if (spec.starts_with(prefix) && spec.find('/', prefix.size()) == std::string::npos)
      return spec.substr(prefix.size());
  }
  if (spec == "init" || spec.find_first_of(":/") != std::string::npos) return {};
  return spec;
}

Result<void> enter(const ExecOptions& options) {
  const auto ns = open_named_netns(options.netns);
  if (!ns) return std::unexpected(ns.error());
  const auto with_root_hint = [](Error error) {
    if (error.code == Errc::permission && error.hint.empty()) error.hint = "run as root (CAP_SYS_ADMIN)";
    return std::unexpected(std::move(error));
  };
  if (::setns(ns->fd(), CLONE_NEWNET) != 0) return with_root_hint(errno_error(errno, "entering " + options.netns));
  if (::unshare(CLONE_NEWNS) != 0) return with_root_hint(errno_error(errno, "a private mount namespace"));
  // Mounts of the host still come in; none of ours goes out.
  if (::mount("", "/", "none", MS_SLAVE | MS_REC, nullptr) != 0) {
    return with_root_hint(errno_error(errno, "making the mounts private"));
  }
  if (auto mounted = mount_own_sys(); !mounted) return with_root_hint(std::move(mounted).error());
  const std::string name = configured_name(options.netns);
  if (name.empty()) return {};
  if (auto bound = bind_etc_files(name); !bound) return with_root_hint(std::move(bound).error());
  return {};
}

/// Becomes the command: its exit code, its signals and its terminal are then its own.
Result<Exit> run_exec(const ExecOptions& options) {
  if (options.command.empty()) return fail(Errc::usage, "no command to run", "weir netns exec NAME -- COMMAND ...");
  if (auto entered = enter(options); !entered) return pass(std::move(entered));
  std::vector<std::string> words = options.command;
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::fflush(nullptr);
  ::execvp(argv[0], argv.data());
  Error error = errno_error(errno, fmt::format("cannot run '{}'", options.command[0]));
  error.code = Errc::usage;
  return std::unexpected(std::move(error));
}

}  // namespace

void add_netns_exec(CLI::App& netns, Program& program) {
  auto options = std::make_shared<ExecOptions>();
  CLI::App* command = netns.add_subcommand("exec", "Run a command inside a namespace; the exit code is the command's");
  command->add_option("NETNS", options->netns, "Name, path, pid:N or id:N")->required();
  command->add_option("COMMAND", options->command, "The command and its words, after --")->required();
  command->footer(
      "Files under /etc/netns/NAME cover those of /etc, and /sys shows the namespace's devices.\n\n"
      "Examples:\n  weir netns exec web -- ss -tln\n  weir netns exec pid:1234 -- ip addr");
  command->callback([options, &program] { program.action = [options] { return run_exec(*options); }; });
}

}  // namespace weir::cli
