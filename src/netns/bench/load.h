// The clients of the echo measurement.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace weir::netns::bench {

/// An echo: a cache line, as small requests are.
inline constexpr std::size_t kEchoBytes = 64;

/// Connections that send and wait for the answer, a given number of them at a time, each time another one.
class EchoLoad {
 public:
  static Result<EchoLoad> create(std::uint64_t seed);

  /// Takes a connected, non-blocking socket over.
  Result<void> add(sys::Fd socket);
  [[nodiscard]] std::size_t size() const { return clients_.size(); }

  /// Sends `operations` echoes, `outstanding` at a time on connections drawn at random, and waits for all answers.
  /// Errc::failed for a wrong answer, a connection that ends, and when nothing comes for ten seconds.
  Result<void> run(std::uint64_t operations, std::size_t outstanding);

 private:
  struct Client {
    sys::Fd socket;
    std::uint64_t sent = 0;  ///< what the answer must begin with
  };

  EchoLoad(sys::Fd epoll, std::uint64_t seed) : epoll_(std::move(epoll)), random_(seed) {}
  /// Sends on a connection that waits for nothing, drawn at random.
  Result<void> send_one();
  Result<void> receive(std::size_t which);

  sys::Fd epoll_;
  std::mt19937_64 random_;
  std::vector<Client> clients_;
  std::vector<std::size_t> idle_;
  std::uint64_t echoes_ = 0;
};

}  // namespace weir::netns::bench
