// Small packets over TCP: what watching takes off the throughput of a CPU.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "rounds.h"
#include "support/namespaces.h"

namespace weir::bench {

/// Two namespaces with a veth pair between them and TCP connections over it; one thread is both ends of all of them.
class EchoNetwork {
 public:
  static Result<EchoNetwork> build();
  /// So many requests of 64 bytes, each answered with as many, over all connections in turn.
  [[nodiscard]] Result<void> exchange(std::uint64_t requests) const;
  [[nodiscard]] int server_fd() const { return server_.netns().fd(); }

 private:
  EchoNetwork() = default;
  Result<void> connect_all();
  test::Namespace client_;
  test::Namespace server_;
  std::vector<sys::Fd> clients_;
  std::vector<sys::Fd> servers_;
};

/// One value a round: a request's CPU time with everything that it causes, and the share of a busy CPU's requests that
/// is missing beside the same round's first variant.
struct EchoSeries {
  std::string name;
  std::string absent{};
  std::vector<double> ns_per_request{};
  std::vector<double> loss_pct{};
};

Result<std::vector<EchoSeries>> measure_echo(const EchoNetwork& network, const std::vector<Variant>& variants,
                                             int rounds, std::uint64_t requests, int cpu,
                                             const std::function<bool()>& stopped);

}  // namespace weir::bench
