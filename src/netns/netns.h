// Network namespaces: identity, handles, running code inside one, and who exists. (First part: what observers and the
// lab need.)
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace weir::netns {

/// A held network namespace. Identity is the id that the kernel gives it for one boot (NS_GET_ID on Linux 6.18, else
/// SO_NETNS_COOKIE, 5.14): never an inode, fd number or name, all of which repeat. Equal ids mean the same namespace.
class Netns {
 public:
  /// Opens by "init", a name under /run/netns, an absolute path, "pid:N" or "id:N". Errc::usage for words that are no
  /// specification, Errc::not_found (with the nearest names) when there is no such namespace; a path that is not a
  /// network namespace says so (nsfs magic and type are checked on the opened fd).
  static Result<Netns> open(std::string_view spec);
  /// The calling thread's namespace.
  static Result<Netns> current();
  /// The namespace of PID 1: "init".
  static Result<Netns> initial();
  /// Takes an open nsfs descriptor over, after checking it.
  static Result<Netns> from_fd(sys::Fd fd);
  /// Makes a namespace, with loopback up, and binds it to /run/netns/NAME (as ip-netns(8) does); fails when the name
  /// exists.
  static Result<Netns> create_named(const std::string& name);
  /// Unbinds /run/netns/NAME; the namespace lives on while somebody holds it.
  static Result<void> remove_named(const std::string& name);

  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  Netns(sys::Fd fd, std::uint64_t id) noexcept : fd_(std::move(fd)), id_(id) {}
  sys::Fd fd_;
  std::uint64_t id_ = 0;
};

/// Runs `body` with the calling thread inside `ns`, then returns the thread to where it was. Fails closed: when the
/// thread cannot enter, body does not run. When it cannot come home the process aborts: a thread in a tenant's
/// namespace that thinks it is at home does worse.
Result<void> run_in(const Netns& ns, const std::function<Result<void>()>& body);

/// A socket made in `ns`; the calling thread is at home before and after. Flags: SOCK_CLOEXEC is always added.
Result<sys::Fd> open_socket(const Netns& ns, int domain, int type, int protocol);

/// A namespace of this host and how it can be reached.
struct Entry {
  std::uint64_t id = 0;
  std::vector<std::string> names;  ///< under /run/netns, sorted
  std::vector<pid_t> pids;         ///< processes that live in it (at most `max_pids`)
  bool initial = false;
  /// Its name, "init", or "id:N": the word of the JSON documents and of every --netns option.
  [[nodiscard]] std::string display() const;
};

/// Every namespace that has a name under /run/netns or a living process, sorted by display name. Entries that vanish
/// while they are looked at are left out; those that may not be opened are named in `unreadable` (if given).
Result<std::vector<Entry>> list(std::vector<std::string>* unreadable = nullptr, std::size_t max_pids = 16);

/// Opens a listed namespace; Errc::not_found when it went away or its name now means another one.
Result<Netns> open(const Entry& entry);

}  // namespace weir::netns
