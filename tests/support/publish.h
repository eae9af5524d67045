// Namespaces given a name in every order in which programs do it, in a folder of a test's own.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "sys/fd.h"
#include "sys/scratch_thread.h"

namespace weir::test {

enum class Order { file_unshare_mount, ip, unshare_file_mount, prepared_mount, link };
inline constexpr std::array kOrders{Order::file_unshare_mount, Order::ip, Order::unshare_file_mount,
                                    Order::prepared_mount, Order::link};

inline const char* to_string(Order order) {
  constexpr std::array kNames{"file, unshare, mount", "ip netns add", "unshare, file, mount", "prepared mount, moved",
                              "mount elsewhere, link"};
  return kNames[static_cast<std::size_t>(order)];
}

/// A folder of names, and beside it one for what links lead to. Both are private mounts: nothing of them shows twice.
class NameFolder {
 public:
  NameFolder() : root_("/run/weir-test-" + std::to_string(::getpid())) {
    std::filesystem::create_directories(root_);
    check(::mount("tmpfs", root_.c_str(), "tmpfs", 0, "size=16m") == 0);
    check(::mount("", root_.c_str(), "none", MS_PRIVATE, nullptr) == 0);
    std::filesystem::create_directories(names());
    std::filesystem::create_directories(store());
  }
  NameFolder(const NameFolder&) = delete;
  NameFolder& operator=(const NameFolder&) = delete;
  ~NameFolder() {
    ::umount2(root_.c_str(), MNT_DETACH);
    ::rmdir(root_.c_str());
  }

  [[nodiscard]] std::string root() const { return root_; }
  [[nodiscard]] std::string names() const { return root_ + "/names"; }
  [[nodiscard]] std::string store() const { return root_ + "/store"; }
  /// What the registry calls a name made in that order.
  [[nodiscard]] std::string called(Order order, const std::string& name) const {
    return order == Order::ip ? name : names() + "/" + name;
  }

  /// Makes a namespace and gives it a name; when that was done. For Order::ip below /run/netns.
  std::chrono::steady_clock::time_point publish(Order order, const std::string& name) const {
    if (order == Order::ip) {
      check(::system(("ip netns add " + name).c_str()) == 0);  // NOLINT: fixed words only
      return std::chrono::steady_clock::now();
    }
    std::chrono::steady_clock::time_point done;
    const auto made = sys::on_scratch_thread([&]() -> Result<void> {
      publish_from_here(order, name);
      done = std::chrono::steady_clock::now();
      return {};
    });
    check(made.has_value());
    return done;
  }

  void remove(Order order, const std::string& name) const {
    if (order == Order::ip) {
      check(::system(("ip netns del " + name).c_str()) == 0);  // NOLINT: fixed words only
      return;
    }
    const std::string path = names() + "/" + name;
    if (order == Order::link) {
      check(::unlink(path.c_str()) == 0);
      unbind(store() + "/" + name);
    } else {
      unbind(path);
    }
  }

  static void check(bool done) {
    if (!done) throw std::runtime_error("cannot prepare the test: errno " + std::to_string(errno));
  }
  static void touch(const std::string& path) {
    check(sys::Fd(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0)).valid());
  }
  static void bind(const std::string& from, const std::string& path) {
    check(::mount(from.c_str(), path.c_str(), "none", MS_BIND, nullptr) == 0);
  }
  static void unbind(const std::string& path) {
    check(::umount2(path.c_str(), MNT_DETACH) == 0);
    check(::unlink(path.c_str()) == 0);
  }

 private:
  static constexpr const char* kOwn = "/proc/thread-self/ns/net";

  void publish_from_here(Order order, const std::string& name) const {
    const std::string path = names() + "/" + name;
    const std::string stored = store() + "/" + name;
    if (order == Order::file_unshare_mount) touch(path);
    check(::unshare(CLONE_NEWNET) == 0);
    if (order == Order::unshare_file_mount) touch(path);
    if (order == Order::prepared_mount) {
      const sys::Fd tree(::open_tree(AT_FDCWD, kOwn, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
      check(tree.valid());
      touch(path);
      check(::move_mount(tree.get(), "", AT_FDCWD, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0);
    } else if (order == Order::link) {
      touch(stored);
      bind(kOwn, stored);
      check(::symlink(stored.c_str(), path.c_str()) == 0);
    } else {
      bind(kOwn, path);
    }
  }

  std::string root_;
};

}  // namespace weir::test
