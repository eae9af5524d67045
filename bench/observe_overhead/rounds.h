// Measures what an observer adds to the CPU time of a forwarded packet: rounds of all variants in turn.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "network.h"

namespace weir::bench {

/// Something that may watch the packets. `attach` returns its owner: it watches until that is destroyed.
struct Variant {
  std::string name;
  std::string what;
  std::function<Result<std::shared_ptr<void>>()> attach;
  /// Process that holds its programs; null when there are none.
  std::function<pid_t(const void*)> holder;
  /// Process that reads what is seen, and those that it started; null when their CPU time is of no interest.
  std::function<pid_t(const void*)> reader;
  /// Packets that it counted since it was attached, each as often as it meets it; asked last. Null: it does not say.
  std::function<Result<std::uint64_t>(void*)> counted{};
};

/// The figures of one variant, one value a round; `absent` says why there are none.
struct Series {
  std::string name;
  std::string what;
  std::string absent{};
  std::vector<double> ns_per_packet{};        ///< CPU time, sender included
  std::vector<double> added_ns{};             ///< ns_per_packet minus that of the round's first variant
  std::vector<double> reader_ns{};            ///< CPU time of the reading process, a packet
  std::vector<double> run_ns_per_firing{};    ///< kernel's clock around the programs, average of a firing
  std::vector<double> floor_ns_per_firing{};  ///< the same of empty programs at the same hooks, at the same time
  std::vector<double> firings_per_packet{};
  std::vector<double> counted_per_packet{};                        ///< what it counted over what was sent
  std::map<std::string, std::vector<double>> net_ns_by_program{};  ///< run time of a firing minus the floor's
};

struct Plan {
  int rounds = 9;
  std::uint64_t packets = 100'000;
  int cpu = 0;
};

/// CPU time of the calling thread with the softirqs that run on top of it, and of the CPU's ksoftirqd, which takes
/// packets over when there are many.
class CpuTime {
 public:
  explicit CpuTime(int cpu);
  [[nodiscard]] std::uint64_t ns() const;

 private:
  std::string ksoftirqd_;  ///< its schedstat; empty where it is out of sight
};

/// Runs the plan on the calling thread, pinned while packets go. The first variant is the one that the others are
/// compared with. A variant that cannot be attached is marked absent; `stopped` ends early, with an error.
Result<std::vector<Series>> measure(const ForwardNetwork& network, const std::vector<Variant>& variants,
                                    const Plan& plan, const std::function<bool()>& stopped);

}  // namespace weir::bench
