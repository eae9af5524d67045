// The regression gate: has switching become dearer since a baseline was written down?
//
// The quantity is a sticky visit's cost in getppids (ratio.h), one sample a round. Two runs differ by more than their
// rounds do, because memory lies elsewhere, so an interval alone would cry on noise: worse is what is both certain
// and larger than what runs of the same program were seen to differ by.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "netns/bench/statistics.h"
#include "sys/file_tree.h"

namespace weir::netns::bench {

/// What must be the same for two baselines to be comparable.
struct GateKey {
  std::string kernel;  ///< uname -r
  std::string cpu;     ///< model name
  std::string build;   ///< "release" or "debug": whether the library was built with NDEBUG
  friend bool operator==(const GateKey&, const GateKey&) = default;
};

/// The key of this machine and this program.
Result<GateKey> gate_key(const sys::FileTree& root);

struct Baseline {
  GateKey key;
  std::size_t namespaces = 0;       ///< among which the visits went
  double getppid_ns = 0;            ///< how quick the machine was
  std::vector<double> in_getppids;  ///< one a round

  [[nodiscard]] std::string json() const;
  /// The reverse. Errc::usage for anything that is no baseline of this version.
  static Result<Baseline> parse(std::string_view json);
};

/// A slowdown of 10 % is above it however the estimate falls; runs of the same program were seen to differ by less.
inline constexpr double kGateTolerance = 0.05;

struct Verdict {
  Ratio ratio;  ///< now over then
  double tolerance = kGateTolerance;
  bool worse = false;
  bool better = false;  ///< the same the other way round: time for a new baseline
  bool calm = true;     ///< false: a getppid took much longer or shorter than then, so that nothing was decided
};

/// Compares samples; either may be the shorter one.
Verdict judge(std::span<const double> then, std::span<const double> now, const Bootstrap& bootstrap = {},
              double tolerance = kGateTolerance);

/// The same of two baselines. Undecided when a getppid takes another time now: then the machine is not as it was, and
/// costs in getppids differ for that reason alone.
Verdict judge(const Baseline& then, const Baseline& now, const Bootstrap& bootstrap = {});

/// Errc::usage when a baseline is of another kernel, CPU or build, or of another number of namespaces.
Result<void> comparable(const Baseline& then, const GateKey& key, std::size_t namespaces);

}  // namespace weir::netns::bench
