// A directory of cgroup v2 for a test, wherever that is mounted here, and processes that live in it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/process.h"

namespace weir::test {

/// Where whole trees of cgroups are mounted in which directories can be made, in the order of the mounts. `type` is
/// "cgroup2", "cgroup" (v1), or empty for both.
inline std::vector<std::string> all_cgroups(const std::string& type = {}) {
  std::vector<std::string> points;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const bool wanted = line.find(" - " + (type.empty() ? "cgroup2" : type) + " ") != std::string::npos ||
                        (type.empty() && line.find(" - cgroup ") != std::string::npos);
    if (!wanted) continue;
    std::array<std::string, 5> fields;
    std::size_t at = 0;
    for (std::string& field : fields) {
      const std::size_t end = line.find(' ', at);
      field = line.substr(at, end - at);
      at = end + 1;
    }
    if (fields[3] == "/" && ::access(fields[4].c_str(), W_OK) == 0) points.push_back(fields[4]);
  }
  return points;
}

/// The first of them.
inline std::optional<std::string> mounted_cgroups(const std::string& type) {
  const auto points = all_cgroups(type);
  return points.empty() ? std::nullopt : std::optional(points.front());
}

inline std::optional<std::string> unified_cgroups() {
  return mounted_cgroups("cgroup2");
}

/// Directories below a mount of cgroups, removed again once their processes are gone.
class CgroupFolder {
 public:
  /// `path` from the root, each part of which is made unless it is there.
  explicit CgroupFolder(const std::string& path, std::string root = unified_cgroups().value())
      : root_(std::move(root)), path_(path) {
    for (std::size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
      const std::string part = root_ + path.substr(0, at);
      if (::mkdir(part.c_str(), 0755) == 0)
        made_.push_back(part);
      else if (errno != EEXIST)
        throw std::runtime_error("cannot make " + part);
      if (at == std::string::npos) return;
    }
  }
  CgroupFolder(const CgroupFolder&) = delete;
  CgroupFolder& operator=(const CgroupFolder&) = delete;
  ~CgroupFolder() { remove(); }

  void remove() {
    // A process that has ended leaves a moment later.
    for (; !made_.empty(); made_.pop_back()) {
      EXPECT_TRUE(eventually([&] { return ::rmdir(made_.back().c_str()) == 0 || errno == ENOENT; })) << made_.back();
    }
  }
  /// What sockets made in it carry.
  [[nodiscard]] std::uint64_t id() const {
    struct stat st {};
    if (::stat((root_ + path_).c_str(), &st) != 0) throw std::runtime_error("no " + path_);
    return st.st_ino;
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// The calling process moves in.
  void enter() const {
    std::ofstream file(root_ + path_ + "/cgroup.procs");
    if (!(file << "0" << std::flush)) throw std::runtime_error("cannot enter " + path_);
  }

 private:
  std::string root_;
  std::string path_;
  std::vector<std::string> made_;
};

/// A child that prepares something and then keeps it until this is dropped. What `body` returns reaches the parent.
class Tenant {
 public:
  explicit Tenant(const std::function<std::uint64_t()>& body) {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const std::uint64_t value = body();
      static_cast<void>(!::write(pipe[1], &value, sizeof value));
      for (;;) ::pause();
    }
    ::close(pipe[1]);
    static_cast<void>(!::read(pipe[0], &value_, sizeof value_));
    ::close(pipe[0]);
  }
  Tenant(const Tenant&) = delete;
  Tenant& operator=(const Tenant&) = delete;
  ~Tenant() { end(); }

  [[nodiscard]] std::uint64_t value() const { return value_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  std::uint64_t value_ = 0;
};

}  // namespace weir::test
