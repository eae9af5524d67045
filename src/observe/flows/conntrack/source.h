// Connection tracking of one namespace over netlink: its table as a dump, and what changes.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "netns/netns.h"
#include "observe/flows/conntrack/message.h"
#include "sys/fd.h"

namespace weir::observe {

/// Reads only. Opening one makes the kernel tell of every new connection of the namespace as long as it is open
/// (net.netfilter.nf_conntrack_events = 2), and keeps the namespace alive: whoever has it closes it when the namespace
/// has lost its names and processes.
class [[nodiscard]] ConntrackSource {
 public:
  using Visitor = std::function<void(const ConntrackMessage&)>;

  /// Sockets in `ns`, where they stay. Errc::permission without CAP_NET_ADMIN there.
  static Result<ConntrackSource> open(const netns::Netns& ns);

  /// The whole table, both families, read as it comes.
  Result<void> dump(const Visitor& each);
  /// What has changed since, without waiting. False: the kernel dropped some (ENOBUFS), only a dump can tell.
  Result<bool> read_events(const Visitor& each);

  /// Whether this namespace tells of changes at all (nf_conntrack_events is not 0).
  [[nodiscard]] bool tells_events() const { return tells_; }
  [[nodiscard]] std::uint64_t events() const { return events_; }
  [[nodiscard]] std::uint64_t malformed() const { return malformed_; }

 private:
  ConntrackSource(sys::Fd requests, sys::Fd events, bool tells)
      : requests_(std::move(requests)), changes_(std::move(events)), tells_(tells) {}
  /// Each message of a block; true at the end of an answer.
  Result<bool> take(std::span<const std::byte> block, const Visitor& each);

  sys::Fd requests_;
  sys::Fd changes_;
  std::vector<std::byte> buffer_;
  bool tells_ = true;
  std::uint32_t sequence_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t malformed_ = 0;
};

}  // namespace weir::observe
