// The conntrack plane: the tables of all namespaces that track connections, kept up to date while flows are watched.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/conntrack.h"
#include "netns/netns.h"
#include "observe/flows/conntrack/source.h"
#include "observe/flows/conntrack/table.h"

namespace weir::observe {

struct ConntrackRequest {
  /// Namespaces to look at; asked again while the plane is polled.
  std::function<Result<std::vector<netns::Entry>>()> namespaces = [] { return netns::list(); };
  /// Entries that are kept, of all namespaces; 200 bytes each.
  std::size_t most_entries = 131'072;
};

/// A namespace is read as soon as it has an entry (net.netfilter.nf_conntrack_count), so that none is made to track
/// connections, and let go when it has lost its names and processes, so that it can end. A table is dumped when it is
/// first seen and then follows its events; it is dumped again where events were lost and at the end of a window, as far
/// as that takes less than a twentieth of one CPU: the kernel tells nothing of connections that began before somebody
/// listened, nor of counters and timeouts. For one thread. Never fails: what cannot be read is said in account().
class ConntrackPlane {
 public:
  /// `clock` must outlive the plane.
  ConntrackPlane(ConntrackRequest request, const Clock& clock);

  /// Looks for namespaces once a second and takes what has changed. Often enough, or the kernel drops events.
  /// `over`: connections that have just ended, or only wait to be forgotten.
  void poll(const ConntrackTable::OverVisitor& over = {});
  /// A window ends: everything as it is now.
  void refresh(const ConntrackTable::OverVisitor& over = {});
  /// A window begins: ended entries are forgotten.
  void begin_window();

  /// The entries that `wanted` chooses, those that ended in this window among them.
  [[nodiscard]] std::vector<std::shared_ptr<const model::ConntrackEntry>> entries(
      const std::function<bool(const model::ConntrackEntry&)>& wanted) const;
  [[nodiscard]] model::ConntrackAccount account() const;

 private:
  using Time = std::chrono::nanoseconds;
  struct Tracked {
    ConntrackSource source;
    ConntrackTable table;
    std::string name;
    Time dump_again{};  ///< not before
    bool stale = true;  ///< events were lost, or it was never dumped
  };

  /// `at_least`: since the last time.
  void look_around(Time at_least, const ConntrackTable::OverVisitor& over);
  void meet(const netns::Entry& entry);
  void dump(std::uint64_t netns, Tracked& tracked, const ConntrackTable::OverVisitor& over);
  void drain(Tracked& tracked, const ConntrackTable::OverVisitor& over);
  [[nodiscard]] std::size_t kept() const;

  ConntrackRequest request_;
  const Clock* clock_;
  std::map<std::uint64_t, Tracked> tracked_;
  std::vector<ConntrackTable> gone_;  ///< of namespaces that went within the window
  std::map<std::uint64_t, std::string> unread_;
  Time looked_{};  ///< when that began, and how long it took
  Time look_took_{};
  bool looked_once_ = false;
  std::uint64_t dumps_ = 0;
  std::uint64_t resyncs_ = 0;
  std::uint64_t past_events_ = 0;  ///< of namespaces that are gone
  std::uint64_t past_malformed_ = 0;
};

}  // namespace weir::observe
