// Inside netns only: opening and checking the files that stand for namespaces.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "netns/netns.h"
#include "sys/fd.h"

namespace weir::netns::detail {

inline constexpr const char* kNamedDir = "/run/netns";
inline constexpr std::uint64_t kNsfsMagic = 0x6e736673;  ///< NSFS_MAGIC of linux/magic.h

/// What the kernel says a namespace is.
struct Identity {
  std::uint64_t id = 0;
  std::uint32_t inum = 0;  ///< the inode number
  bool weak = false;       ///< `id` is only that
};

/// Opens `path` and checks on that same descriptor that it is a network namespace. `what` is how errors call it.
/// Nothing but an nsfs file is ever opened for real, so devices and FIFOs do not notice.
Result<sys::Fd> open_ns_file(const std::string& path, const std::string& what);

/// Checks magic and type of an open descriptor.
Result<void> check_ns_fd(int fd, const std::string& what);

/// NS_GET_ID, else ns_cookie(), else ns_inode().
Result<Identity> ns_id(int fd);

/// Whether a descriptor still stands for the namespace for which it is held: other code may have closed it and been
/// given its number again. Asks for no descriptor and no thread, so it answers when neither is to be had.
bool leads_to(int fd, std::uint64_t id, std::uint32_t inum) noexcept;

/// The cookie of a socket made inside (SO_NETNS_COOKIE, Linux 5.14): the same number where a kernel has both.
/// Errc::unsupported where the kernel has neither.
Result<std::uint64_t> ns_cookie(int fd);

/// The inode number. It is given again once nobody holds the namespace.
Result<std::uint32_t> ns_inode(int fd);

/// A file of the initial namespace: PID 1's, or kthreadd's where a security module keeps PID 1 to itself.
std::string initial_path();

/// Whether `name` can stand under /run/netns and cannot be mistaken for another kind of specification.
Result<void> check_name(std::string_view name);

/// The names that exist under /run/netns, sorted; none when the directory does not exist.
Result<std::vector<std::string>> named();

/// list(), with what kept an entry from being looked at.
Result<std::vector<Entry>> list_entries(std::vector<Error>& unreadable, std::size_t max_pids);

/// Finds out where the calling thread's home is, the first time.
Result<void> ask_home();

/// Whether this one is to be looked at; `left` counts down to the next. See set_audit_interval().
bool audit_due(std::uint32_t& left) noexcept;

}  // namespace weir::netns::detail
