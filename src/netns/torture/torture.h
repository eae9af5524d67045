// The torture test of the namespace library: many threads that use, abuse and break it at once, in the manner of
// rcutorture, while what must always hold is asked of the kernel and of nothing that the library remembers.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace weir::netns {

struct TortureOptions {
  std::size_t namespaces = 512;  ///< alive at any time, in the pool that all actors share
  std::size_t threads = 8;       ///< that visit; those that make, name, serve and break come on top
  std::chrono::nanoseconds duration = std::chrono::seconds(60);
  /// Decides what every actor does, operation by operation; how they interleave is the kernel's choice.
  std::uint64_t seed = 1;
  /// Ends each actor after so many operations, if that is before the time is over. 0: by time only.
  std::uint64_t operations = 0;
  bool faults = true;  ///< descriptors that run out or are closed by strangers, switches that fail, and so on
};

/// Something that must always hold and did not.
struct BrokenInvariant {
  std::string invariant;  ///< which: "home", "socket", "identity", "ready", "echo", ...
  std::string actor;
  std::uint64_t operation = 0;  ///< the actor's own count, from 0: with the seed it says what was tried
  std::string what;
};

struct ActorReport {
  std::string name;
  std::uint64_t operations = 0;
  /// Of what the first operations were: equal in two runs with the same seed.
  std::uint64_t digest = 0;
};

struct TortureReport {
  std::uint64_t seed = 0;
  double seconds = 0;
  std::uint64_t switches = 0;  ///< visits to where the thread was not
  std::uint64_t sockets_checked = 0;
  std::uint64_t homecomings_checked = 0;
  std::uint64_t echoes_checked = 0;
  std::uint64_t namespaces_made = 0;
  std::uint64_t ready_checked = 0;
  std::uint64_t faults_injected = 0;
  std::uint64_t errors_expected = 0;  ///< errors that a fault explains, each with the thread at home
  std::uint64_t wrong_namespace = 0;
  std::uint64_t repeated_identities = 0;
  std::uint64_t false_ready = 0;
  std::uint64_t leaked_fds = 0;
  std::uint64_t stalls = 0;
  /// The first ones in full; `broken` counts all.
  std::vector<BrokenInvariant> invariants_broken;
  std::uint64_t broken = 0;
  std::vector<std::string> not_tried;  ///< what this kernel or host lacks for, and so was left out
  std::vector<ActorReport> actors;
};

/// Tortures. The calling thread's mount namespace is left and everything that is made dies with the process: call it
/// from a process of its own, before other threads start. `stop` is asked ten times a second and ends it early.
/// Errc::permission without CAP_SYS_ADMIN; Errc::usage when the limit of descriptors is too low for so many namespaces.
Result<TortureReport> run_torture(const TortureOptions& options, const std::function<bool()>& stop);

}  // namespace weir::netns
