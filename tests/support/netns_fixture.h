// Tests of src/netns: what the kernel says of threads and sockets, and names that are taken away again.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>

#include "netns/netns.h"

namespace weir::test {

inline std::uint64_t cookie_of(int socket) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  EXPECT_EQ(::getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size), 0);
  return cookie;
}

/// The id of the thread's namespace as the kernel says it of a fresh socket: not by anything that netns remembers.
inline std::uint64_t kernel_here() {
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return cookie_of(socket.get());
}

/// Runs `body` in a child process, which is `body`'s exit code: for what cannot be taken back in this process.
inline int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// The descriptors of this process, lowest first, that stand for the namespace `id`.
inline std::set<int> descriptors_of(std::uint64_t id) {
  std::set<int> numbers;
  std::set<int> found;
  DIR* dir = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] != '.') numbers.insert(std::atoi(entry->d_name));
  }
  ::closedir(dir);
  for (const int number : numbers) {
    auto ns = netns::Netns::from_fd(Fd(::fcntl(number, F_DUPFD_CLOEXEC, 0)));
    if (ns && ns->id() == id) found.insert(number);
  }
  return found;
}

/// Needs root; fails when a test leaves its thread elsewhere.
class NetnsFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    home_ = kernel_here();
  }
  void TearDown() override {
    for (const std::string& name : names_) {
      ::umount2(("/run/netns/" + name).c_str(), MNT_DETACH);
      ::unlink(("/run/netns/" + name).c_str());
    }
    if (::geteuid() == 0) {
      EXPECT_EQ(kernel_here(), home_) << "the thread did not come home";
    }
  }
  /// A name that nothing else on the host has, taken away after the test.
  std::string name(const std::string& suffix) {
    std::string full = "weir-nl" + std::to_string(::getpid()) + "-" + suffix;
    names_.insert(full);
    return full;
  }
  static netns::Netns make() { return value(netns::Netns::create()); }
  template <class T>
  static T value(Result<T>&& result) {
    if (!result) throw std::runtime_error(result.error().message);
    return std::move(*result);
  }
  std::uint64_t home_ = 0;
  std::set<std::string> names_;
};

}  // namespace weir::test
