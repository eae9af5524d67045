// An echo service for many namespaces on one reactor: the example of the library, and what its cost is measured with.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "netns/reactor.h"

namespace weir::netns {

/// Gives back what it is sent, in as many namespaces as it is told to serve, without ever switching to one after that.
class EchoService {
 public:
  explicit EchoService(Reactor& reactor) : reactor_(reactor) {}
  EchoService(const EchoService&) = delete;
  EchoService& operator=(const EchoService&) = delete;

  /// Listens in `ns`. Every connection there hears `greeting` first. Gives the endpoint with the port that the kernel
  /// chose where it was 0. The service must live as long as the reactor runs.
  Result<Endpoint> serve(const Netns& ns, const Endpoint& endpoint, std::string greeting = {},
                         const ListenOptions& options = {});
  [[nodiscard]] std::uint64_t accepted() const noexcept { return accepted_; }

 private:
  class Listener;
  class Connection;
  /// Accepts what waits at a listener.
  void accept(int listener, const std::string& greeting);
  /// Out of descriptors: takes one connection and drops it, so that its client hears of it and epoll does not spin.
  void refuse_one(int listener);

  Reactor& reactor_;
  Fd reserve_;  ///< given up for a moment by refuse_one()
  std::uint64_t accepted_ = 0;
  std::array<char, 65536> buffer_{};
};

}  // namespace weir::netns
