// Inside netns only: what the parts of the census share.
#pragma once

#include <sys/stat.h>

#include <map>
#include <set>
#include <tuple>

#include "netns/census.h"
#include "netns/mounts.h"
#include "sys/fd.h"

namespace weir::netns::detail {

/// Gathers residents by id. A namespace is entered when it is first met, while its descriptor is open, so that
/// thousands of namespaces need no thousands of descriptors. Lives on a scratch thread, which it leaves wherever it was
/// last.
class Collector {
 public:
  explicit Collector(const CensusOptions& options) : options_(options) {}

  /// A resident and the time of the file through which it was reached.
  struct Found {
    Resident* resident = nullptr;
    timespec file_time{};
  };
  /// The resident behind a namespace file; not_found when the file vanished.
  Result<Found> at(const std::string& path);
  /// The resident of an open descriptor of a namespace.
  Result<Resident*> of(const sys::Fd& fd);
  /// The resident of that id, if it was met.
  Resident* known(std::uint64_t id);

  [[nodiscard]] const CensusOptions& options() const { return options_; }
  [[nodiscard]] std::set<std::uint64_t> inodes() const;
  [[nodiscard]] std::map<std::uint64_t, Resident>& residents() { return by_id_; }
  CensusGaps gaps;

 private:
  static constexpr std::size_t kMostHeld = 128;
  /// What stat(2) says of a namespace file. Inodes repeat and an inode's time changes while nobody holds it, but the
  /// pair does not repeat: equal stamps mean the same namespace, unequal ones mean "ask for the id".
  using Stamp = std::tuple<dev_t, ino_t, std::int64_t, std::int64_t>;
  CensusOptions options_;
  std::map<std::uint64_t, Resident> by_id_;
  std::map<Stamp, Resident*> by_stamp_;
  std::vector<sys::Fd> held_;
};

/// Adds the processes and threads of this PID namespace, and the mounts that only other mount namespaces have; when
/// asked for, what descriptors hold.
Result<void> collect_processes(Collector& collector);

/// The descriptors of one process; `sockets_left` is counted down.
void collect_descriptors(Collector& collector, pid_t pid, std::size_t& sockets_left);

/// Enters a namespace with the calling thread, which stays there, and fills in devices and sockets.
Result<void> look_inside(int fd, Resident& resident);

/// The name of a process or thread; empty when it is gone.
std::string comm_of(pid_t pid);

/// Fills in the named processes, the workload, and the time where no mount told it.
void describe_processes(Resident& resident);

/// Opens what is mounted in another mount namespace only, or held by a descriptor only.
Result<Netns> open_through_others(const Resident& resident);

}  // namespace weir::netns::detail
