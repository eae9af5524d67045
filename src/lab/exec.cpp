#include "lab/exec.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "base/text.h"
#include "sys/fd.h"

namespace weir::lab {

namespace {

std::string find_program(const std::string& name) {
  for (const char* folder : {"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"}) {
    if (const std::string path = folder + name; access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

std::string read_from_start(const sys::Fd& fd) {
  std::string text;
  std::array<char, 4096> chunk;
  for (off_t offset = 0;;) {
    const ssize_t got = pread(fd.get(), chunk.data(), chunk.size(), offset);
    if (got <= 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    offset += got;
  }
}

/// A kernel without the device, qdisc or rule that was asked for is another matter than a failure.
Errc class_of(std::string_view said) {
  for (const char* lacking : {"not supported", "Unknown device type", "qdisc kind is unknown", "Unknown qdisc"}) {
    if (said.find(lacking) != std::string_view::npos) return Errc::unsupported;
  }
  return said.find("not permitted") != std::string_view::npos ? Errc::permission : Errc::failed;
}

/// The attributes and file actions of one spawn.
class Spawn {
 public:
  Spawn() {
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_init(&actions_);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;
  ~Spawn() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  void redirect(const sys::Fd& from, int to) { posix_spawn_file_actions_adddup2(&actions_, from.get(), to); }

  Result<pid_t> run(const std::string& path, const std::vector<std::string>& command) {
    std::vector<std::string> words = command;
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t pid = 0;
    if (const int err = posix_spawn(&pid, path.c_str(), &actions_, &attributes_, argv.data(), environ); err != 0) {
      return fail_errno(err, path);
    }
    return pid;
  }

 private:
  posix_spawnattr_t attributes_{};
  posix_spawn_file_actions_t actions_{};
};

}  // namespace

Result<std::string> run_tool(const std::vector<std::string>& command, const std::string& input) {
  const std::string path = find_program(command[0]);
  if (path.empty()) {
    return fail(Errc::unsupported, fmt::format("'{}' is not installed", command[0]),
                "the lab needs iproute2 and nftables: apt install iproute2 nftables");
  }
  // Memory files instead of pipes: no side can block on the other.
  sys::Fd in(memfd_create("in", MFD_CLOEXEC));
  sys::Fd out(memfd_create("out", MFD_CLOEXEC));
  sys::Fd err(memfd_create("err", MFD_CLOEXEC));
  if (!in.valid() || !out.valid() || !err.valid()) return fail_errno(errno, "memfd_create");
  if (pwrite(in.get(), input.data(), input.size(), 0) != static_cast<ssize_t>(input.size())) {
    return fail_errno(errno, "writing the input of " + command[0]);
  }
  Spawn spawn;
  spawn.redirect(in, STDIN_FILENO);
  spawn.redirect(out, STDOUT_FILENO);
  spawn.redirect(err, STDERR_FILENO);
  auto pid = spawn.run(path, command);
  if (!pid) return pass(std::move(pid));
  int status = 0;
  while (waitpid(*pid, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno(errno, "waitpid");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return read_from_start(out);
  const std::string said = read_from_start(err);
  return fail(class_of(said), fmt::format("{}: {}", fmt::join(command, " "), split(trim(said), '\n')[0]));
}

}  // namespace weir::lab
