// A router between a sender and a sink, in three nameless namespaces: the kernel takes them away with the last
// descriptor, however this process ends.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "netns/netns.h"
#include "sys/fd.h"

namespace weir::bench {

/// sender s0 -- r0 router r1 (4 queues) -- k0 sink. IPv4, static neighbours; the sink's kernel drops what arrives as
/// meant for another MAC address, so a packet ends right behind its last hook.
class ForwardNetwork {
 public:
  static Result<ForwardNetwork> build();

  /// Sends `packets` frames of 60 bytes, 256 flows in turn, from the calling thread; softirqs forward them on the same
  /// CPU when the thread is pinned.
  Result<void> send(std::uint64_t packets) const;
  /// One frame of 60 bytes in each of so many flows, at most 40,000.
  Result<void> send_flows(std::uint32_t flows) const;
  [[nodiscard]] int router_fd() const { return router_.fd(); }
  /// Packets that arrived at the sink's device so far.
  [[nodiscard]] Result<std::uint64_t> arrived() const;

 private:
  ForwardNetwork(netns::Netns sender, netns::Netns router, netns::Netns sink, sys::Fd socket)
      : sender_(std::move(sender)), router_(std::move(router)), sink_(std::move(sink)), socket_(std::move(socket)) {}
  netns::Netns sender_;
  netns::Netns router_;
  netns::Netns sink_;
  sys::Fd socket_;
};

/// sender s0 -- k0 sink: as many packets as this machine's kernel can hand from one device to another.
class PairNetwork {
 public:
  static constexpr const char* kDestination = "10.0.3.2";
  static Result<PairNetwork> build();

  /// As ForwardNetwork::send().
  Result<void> send(std::uint64_t packets) const;
  [[nodiscard]] int sender_fd() const { return sender_.fd(); }
  /// What both devices have counted so far.
  struct Counters {
    std::uint64_t sent = 0;
    std::uint64_t taken = 0;
  };
  [[nodiscard]] Result<Counters> counters() const;

 private:
  PairNetwork(netns::Netns sender, netns::Netns sink, sys::Fd socket)
      : sender_(std::move(sender)), sink_(std::move(sink)), socket_(std::move(socket)) {}
  netns::Netns sender_;
  netns::Netns sink_;
  sys::Fd socket_;
};

}  // namespace weir::bench
