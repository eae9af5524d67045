// The registry: named namespaces of this host as they come and go, without races.
//
// A name is announced as ready only after its file was opened and found to be a network namespace, on that very
// descriptor; so whoever opens the name next finds it, unless it has been taken away since. What the kernel says only
// tells where to look: mount events (fanotify, Linux 6.15), else changes of mountinfo, else changes of the directories.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "netns/netns.h"

namespace weir::netns {

struct RegistryEvent {
  enum class Kind : std::uint8_t {
    ready,    ///< a namespace has its first name; `names` has all of them
    gone,     ///< it lost its last name; it lives on while somebody holds it
    renamed,  ///< it has more, fewer or other names than before
    resync,   ///< the kernel dropped notifications; what differs now follows, what came and went is not told
  };
  Kind kind = Kind::ready;
  std::uint64_t id = 0;
  std::string name;                ///< a word for Netns::open(): below /run/netns the bare name, elsewhere the path
  std::vector<std::string> names;  ///< after the event, sorted; for `gone` those it had
  bool existing = false;           ///< `ready`: it was there when the registry was opened
  /// `ready`: the namespace itself. Not for those that existed, nor for the many of one burst: open the name, then.
  std::optional<Netns> netns;
};

enum class RegistrySource : std::uint8_t {
  best,          ///< the first of the others that works here
  mount_events,  ///< fanotify and statmount(2); CAP_SYS_ADMIN
  mountinfo,     ///< POLLPRI on mountinfo, then a reading of the whole; debounced, as that grows with the mounts
  directories,   ///< inotify, then attempts with growing pauses until the name is a namespace
};

struct RegistryOptions {
  RegistrySource source = RegistrySource::best;
  /// Where names stand. Empty: standard_directories(). A directory may come to exist later.
  std::vector<std::string> directories;
  /// Namespaces mounted elsewhere too; impossible for RegistrySource::directories.
  bool anywhere = false;
};

/// /run/netns (ip, CNI, podman), /run/docker/netns, and /run/user/UID/netns of each user who has one now.
std::vector<std::string> standard_directories();

/// The same id under two names is one namespace; the same name with a new id is gone, then ready. One mount namespace:
/// that of the thread that opened the registry. Names only: the kernel tells nobody of a namespace that has none.
class [[nodiscard]] Registry {
 public:
  /// Subscribes, then looks at what is there. Errc::permission or Errc::unsupported when a source that was asked for
  /// does not work here.
  static Result<Registry> open(const RegistryOptions& options = {});
  Registry(Registry&& other) noexcept;
  Registry& operator=(Registry&& other) noexcept;
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;
  ~Registry();

  /// The events since the last call, in order; waits at most that long for the first. The first call tells what was
  /// there. None when nothing happened.
  Result<std::vector<RegistryEvent>> wait(std::chrono::nanoseconds at_most);
  /// Readable when wait(0) may have events: for poll(2) and epoll. The events of opening do not make it readable.
  [[nodiscard]] int fd() const;
  /// The source in use; never `best`.
  [[nodiscard]] RegistrySource source() const;

 private:
  class Impl;
  explicit Registry(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::netns
