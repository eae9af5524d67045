// The whole measurement of `weir netns bench`.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "netns/bench/check.h"
#include "netns/bench/echo.h"
#include "netns/bench/gate.h"
#include "netns/bench/places.h"
#include "netns/bench/sockets.h"
#include "netns/bench/switching.h"

namespace weir::netns::bench {

/// The gate's visits go among that many: they stay in the caches, so that the figure is about code and not about what
/// else used the caches meanwhile.
inline constexpr std::size_t kGateNamespaces = 16;

struct Options {
  std::size_t namespaces = 1024;
  bool switching = true;
  bool echo = true;
  bool sockets = true;
  std::uint64_t checked_sockets = 200'000;
  std::size_t connections = 1024;
  int rounds = 21;  ///< of the echo
  std::uint64_t seed = 1;
};

struct Report {
  GateKey machine;
  Footprint footprint;
  int server_cpu = 0;
  int load_cpu = 0;  ///< the same where only one CPU may be used
  std::optional<Switching> switching;
  std::optional<Baseline> gate;  ///< with `switching`
  std::optional<SocketCost> sockets;
  std::optional<SocketCheck> check;
  std::optional<Echo> echo;
  std::uint64_t seed = 0;
  bool interrupted = false;
};

/// Told what is measured next.
using Progress = std::function<void(const std::string& phase)>;

/// Measures in namespaces of its own, which end with the process at the latest. Needs CAP_SYS_ADMIN (Errc::permission).
/// A stop ends it after the round that it is in; what was measured until then is reported.
Result<Report> run(const Options& options, const Progress& progress, const Stop& stop);

}  // namespace weir::netns::bench
