// Workloads: who owns a packet, a flow or a device. Asked for each event, so what is known costs a look into a table.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/device.h"
#include "model/namespaces.h"
#include "netns/census.h"
#include "observe/workloads/taps.h"

namespace weir::observe {

/// Where the facts come from.
struct WorkloadSources {
  std::function<Result<netns::Census>()> census;
  /// The workload of a cgroup; Errc::not_found when it is gone for good, other errors: ask again later.
  std::function<Result<std::optional<netns::Workload>>(std::uint64_t id)> cgroup;
  std::function<std::vector<HeldTap>()> taps;
  std::function<std::chrono::steady_clock::time_point()> now;
};

/// This host's.
WorkloadSources host_workload_sources();

/// For one thread. Never fails: what cannot be told belongs to nobody. What has vanished keeps its last name.
///
/// Namespaces are looked at again (a census) when something unknown or unowned is asked for, and devices likewise, each
/// at most once a second, and not so often that it would take more than a twentieth of one CPU.
class Workloads {
 public:
  explicit Workloads(WorkloadSources sources = host_workload_sources());

  /// Whose packet it is, by the cgroup of its socket (0: none known) and the namespace where it is seen (0: none
  /// known); nullptr: nobody's, or not known. In this order: container, VM or pod of the cgroup; those of the
  /// namespace; service of the cgroup; service or process of the namespace; session of the cgroup. A namespace that
  /// containers of one pod share is the pod's; one that others share is nobody's, and neither is the initial one. What
  /// is returned stays as it is until the next call.
  const model::WorkloadRef* of(std::uint64_t cgroup, std::uint64_t netns);

  /// Who holds a TAP device, by its number or its name in that namespace; nullptr: nobody, or it is no TAP. See
  /// workload_behind_tap().
  const model::WorkloadRef* of_tap(std::uint64_t netns, std::uint32_t ifindex);
  const model::WorkloadRef* of_tap(std::uint64_t netns, const std::string& name);

  /// Who is behind a device of the host: the holder of a TAP, or whose namespace the other end of a veth pair is in.
  /// nullptr for devices that lead to nobody in particular.
  const model::WorkloadRef* behind(const model::DeviceConfig& device);

 private:
  using Time = std::chrono::steady_clock::time_point;
  using Pair = std::pair<std::uint64_t, std::uint64_t>;
  struct PairHash {
    std::size_t operator()(const Pair& pair) const noexcept {
      return static_cast<std::size_t>(pair.first * 0x9E3779B97F4A7C15ULL ^ pair.second * 0xC2B2AE3D27D4EB4FULL);
    }
  };
  struct Owner {
    std::optional<netns::Workload> workload;
    model::WorkloadRef ref;
    bool gone = false;  ///< a cgroup that will not come back
    Time ask_again{};
  };
  struct Answer {
    const model::WorkloadRef* ref = nullptr;
    std::uint64_t census = 0;  ///< the one that it rests upon
    Time ask_again{};
  };
  /// Something that costs, and when it may be done again.
  struct Pace {
    Time next{};
    template <class Work>
    bool run(const std::function<Time()>& now, Work&& work);
  };

  Answer decide(const Pair& pair, Time now);
  const Owner* cgroup_owner(std::uint64_t id, Time now);
  const Owner* netns_owner(std::uint64_t id);
  void look_around();
  void take(const netns::Resident& resident);
  void look_for_taps();
  template <class Matches>
  const model::WorkloadRef* find_tap(Matches&& matches);

  WorkloadSources sources_;
  std::unordered_map<Pair, Answer, PairHash> answers_;
  std::unordered_map<std::uint64_t, Owner> cgroups_;
  std::unordered_map<std::uint64_t, Owner> namespaces_;
  std::vector<HeldTap> taps_;
  std::uint64_t initial_netns_ = 0;
  std::uint64_t censuses_ = 0;
  Pace census_pace_;
  Pace tap_pace_;
  Time doubt_taps_{};
};

}  // namespace weir::observe
