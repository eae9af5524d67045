// Namespaces given a name in every order in which programs do it, in a folder of a test's own.
#pragma once

#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>

#include "netns/torture/publish.h"

namespace weir::test {

using netns::torture::kOrders;
using netns::torture::Order;
using netns::torture::to_string;

/// A folder of names, and beside it one for what links lead to. Both are private mounts: nothing of them shows twice.
class NameFolder {
 public:
  NameFolder() : root_("/run/weir-test-" + std::to_string(::getpid())), places_{root_ + "/names", root_ + "/store"} {
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
  [[nodiscard]] std::string names() const { return places_.names; }
  [[nodiscard]] std::string store() const { return places_.store; }
  /// What the registry calls a name made in that order.
  [[nodiscard]] std::string called(Order order, const std::string& name) const { return places_.called(order, name); }

  /// Makes a namespace and gives it a name; when that was done. For Order::ip below /run/netns.
  std::chrono::steady_clock::time_point publish(Order order, const std::string& name) const {
    return value(netns::torture::publish(places_, order, name));
  }
  void remove(Order order, const std::string& name) const { value(netns::torture::unpublish(places_, order, name)); }

  static void check(bool done) {
    if (!done) throw std::runtime_error("cannot prepare the test: errno " + std::to_string(errno));
  }
  static void touch(const std::string& path) { value(netns::torture::touch(path)); }
  static void bind(const std::string& from, const std::string& path) { value(netns::torture::bind_over(from, path)); }
  static void unbind(const std::string& path) { value(netns::torture::unbind(path)); }

 private:
  template <class T>
  static T value(Result<T>&& result) {
    if (!result) throw std::runtime_error("cannot prepare the test: " + result.error().message);
    if constexpr (!std::is_void_v<T>) return std::move(*result);
  }

  std::string root_;
  netns::torture::NamePlaces places_;
};

}  // namespace weir::test
