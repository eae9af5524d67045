#include "netns/torture/publish.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "sys/fd.h"
#include "sys/process.h"
#include "sys/scratch_thread.h"

namespace weir::netns::torture {

namespace {

using Steady = std::chrono::steady_clock;

constexpr const char* kOwn = "/proc/thread-self/ns/net";

Result<void> through_ip(const std::string& verb, const std::string& name) {
  const auto ran = sys::run_command({"ip", "netns", verb, name}, std::chrono::seconds(60));
  if (!ran) return std::unexpected(ran.error());
  if (!ran->status.success()) return fail(Errc::failed, "ip netns " + verb + " " + name + ": " + ran->err);
  return {};
}

Result<void> move_prepared_mount(const std::string& path) {
  const sys::Fd tree(::open_tree(AT_FDCWD, kOwn, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree.valid()) return fail_errno(errno, "open_tree");
  if (auto made = touch(path); !made) return made;
  if (::move_mount(tree.get(), "", AT_FDCWD, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return fail_errno(errno, "move_mount to " + path);
  }
  return {};
}

Result<void> link_to_store(const std::string& stored, const std::string& path) {
  if (auto made = touch(stored); !made) return made;
  if (auto bound = bind_over(kOwn, stored); !bound) return bound;
  if (::symlink(stored.c_str(), path.c_str()) != 0) return fail_errno(errno, path);
  return {};
}

Result<void> publish_from_here(const NamePlaces& places, Order order, const std::string& name) {
  const std::string path = places.names + "/" + name;
  if (order == Order::file_unshare_mount) {
    if (auto made = touch(path); !made) return made;
  }
  if (::unshare(CLONE_NEWNET) != 0) return fail_errno(errno, "unshare");
  if (order == Order::unshare_file_mount) {
    if (auto made = touch(path); !made) return made;
  }
  if (order == Order::prepared_mount) return move_prepared_mount(path);
  if (order == Order::link) return link_to_store(places.store + "/" + name, path);
  return bind_over(kOwn, path);
}

}  // namespace

const char* to_string(Order order) {
  constexpr std::array kNames{"file, unshare, mount", "ip netns add", "unshare, file, mount", "prepared mount, moved",
                              "mount elsewhere, link"};
  return kNames[static_cast<std::size_t>(order)];
}

Result<void> touch(const std::string& path) {
  if (!sys::Fd(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0)).valid())
    return fail_errno(errno, path);
  return {};
}

Result<void> bind_over(const std::string& from, const std::string& path) {
  if (::mount(from.c_str(), path.c_str(), "none", MS_BIND, nullptr) != 0) return fail_errno(errno, "mounting " + path);
  return {};
}

Result<void> unbind(const std::string& path) {
  if (::umount2(path.c_str(), MNT_DETACH) != 0) return fail_errno(errno, "unmounting " + path);
  if (::unlink(path.c_str()) != 0) return fail_errno(errno, path);
  return {};
}

Result<Steady::time_point> publish(const NamePlaces& places, Order order, const std::string& name) {
  if (order == Order::ip) {
    if (auto added = through_ip("add", name); !added) return pass(std::move(added));
    return Steady::now();
  }
  Steady::time_point done;
  auto made = sys::on_scratch_thread([&]() -> Result<void> {
    if (auto published = publish_from_here(places, order, name); !published) return published;
    done = Steady::now();
    return {};
  });
  if (!made) return pass(std::move(made));
  return done;
}

Result<void> unpublish(const NamePlaces& places, Order order, const std::string& name) {
  if (order == Order::ip) return through_ip("del", name);
  const std::string path = places.names + "/" + name;
  if (order != Order::link) return unbind(path);
  if (::unlink(path.c_str()) != 0) return fail_errno(errno, path);
  return unbind(places.store + "/" + name);
}

void wipe(const NamePlaces& places, Order order, const std::string& name) {
  const std::string shown = (order == Order::ip ? "/run/netns/" : places.names + "/") + name;
  const std::string stored = places.store + "/" + name;
  for (const std::string& path : {shown, stored}) {
    ::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    ::unlink(path.c_str());
  }
}

}  // namespace weir::netns::torture
