// Names given to namespaces in every order in which programs do it: what those who watch for names have to bear.
#pragma once

#include <array>
#include <chrono>
#include <string>

#include "base/result.h"

namespace weir::netns::torture {

enum class Order { file_unshare_mount, ip, unshare_file_mount, prepared_mount, link };
inline constexpr std::array kOrders{Order::file_unshare_mount, Order::ip, Order::unshare_file_mount,
                                    Order::prepared_mount, Order::link};

const char* to_string(Order order);

/// Where names stand: a folder of them, and beside it one for what links lead to.
struct NamePlaces {
  std::string names;
  std::string store;
  /// What the registry calls a name made in that order: `ip netns add` puts it below /run/netns.
  [[nodiscard]] std::string called(Order order, const std::string& name) const {
    return order == Order::ip ? name : names + "/" + name;
  }
};

/// Makes a namespace and gives it a name; when that was done.
Result<std::chrono::steady_clock::time_point> publish(const NamePlaces& places, Order order, const std::string& name);

/// Takes the name away again.
Result<void> unpublish(const NamePlaces& places, Order order, const std::string& name);

/// The same for what is there only in part, by whatever means; asks for no descriptor.
void wipe(const NamePlaces& places, Order order, const std::string& name);

/// Makes an empty file where a mount is to stand.
Result<void> touch(const std::string& path);

/// Binds one path over another.
Result<void> bind_over(const std::string& from, const std::string& path);

/// Takes the mount on `path` away, then the file.
Result<void> unbind(const std::string& path);

}  // namespace weir::netns::torture
