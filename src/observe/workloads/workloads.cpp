#include "observe/workloads/workloads.h"

#include <algorithm>
#include <utility>

#include "observe/workloads/cgroups.h"
#include "observe/workloads/workload_ref.h"

namespace weir::observe {

namespace {

using Kind = netns::Workload::Kind;

constexpr std::chrono::seconds kLookAgainAfter{1};
/// Asking a cgroup again costs some microseconds.
constexpr std::chrono::milliseconds kAskAgainAfter{100};
/// What has an owner is looked at again too: another may have moved in.
constexpr std::chrono::seconds kDoubtAfter{10};
/// A look that took t is not repeated before this many t are over.
constexpr int kLooksShare = 20;
constexpr std::size_t kMostKnown = 65536;
constexpr std::uint64_t kRootCgroup = 1;

}  // namespace

WorkloadSources host_workload_sources() {
  return {.census = [] { return netns::take_census({.look_inside = false}); },
          .cgroup = [cgroups = std::make_shared<Cgroups>(Cgroups::open())](
                        std::uint64_t id) { return cgroups->workload(id); },
          .taps = find_held_taps,
          .now = [] { return std::chrono::steady_clock::now(); }};
}

template <class Work>
bool Workloads::Pace::run(const std::function<Time()>& now, Work&& work) {
  const Time begin = now();
  if (begin < next) return false;
  std::forward<Work>(work)();
  const Time end = now();
  next = std::max<Time>(begin + kLookAgainAfter, end + kLooksShare * (end - begin));
  return true;
}

Workloads::Workloads(WorkloadSources sources) : sources_(std::move(sources)) {
  look_around();
}

const model::WorkloadRef* Workloads::of(std::uint64_t cgroup, std::uint64_t netns) {
  const Time now = sources_.now();
  const Pair pair{cgroup, netns};
  if (const auto known = answers_.find(pair); known != answers_.end()) {
    if (known->second.census == censuses_ && now < known->second.ask_again) return known->second.ref;
  } else if (answers_.size() >= kMostKnown) {
    answers_.clear();
  }
  return (answers_[pair] = decide(pair, now)).ref;
}

Workloads::Answer Workloads::decide(const Pair& pair, Time now) {
  const auto [cgroup, netns] = pair;
  const auto walled = [](const Owner* owner) { return owner != nullptr && owner->workload->walled(); };
  const auto answer = [&](const Owner* owner) {
    const Time soon = std::max<Time>(now + kAskAgainAfter, census_pace_.next);
    return Answer{owner == nullptr ? nullptr : &owner->ref, censuses_, walled(owner) ? now + kDoubtAfter : soon};
  };
  const Owner* by_cgroup = cgroup_owner(cgroup, now);
  if (walled(by_cgroup)) return answer(by_cgroup);
  const Owner* by_netns = netns_owner(netns);
  if (walled(by_netns) || by_cgroup == nullptr) return answer(by_netns);
  const bool visits = by_cgroup->workload->kind == Kind::session && by_netns != nullptr;
  return answer(visits ? by_netns : by_cgroup);
}

const Workloads::Owner* Workloads::cgroup_owner(std::uint64_t id, Time now) {
  if (id == 0 || id == kRootCgroup) return nullptr;
  auto found = cgroups_.find(id);
  if (found == cgroups_.end()) {
    if (cgroups_.size() >= kMostKnown) {
      cgroups_.clear();
      answers_.clear();
    }
    found = cgroups_.emplace(id, Owner{}).first;
  }
  Owner& owner = found->second;
  if (owner.gone || now < owner.ask_again) return owner.workload ? &owner : nullptr;
  // A path does not change, but what the processes of a cgroup say may, where v1 is in use.
  if (auto workload = sources_.cgroup(id)) {
    owner.workload = *std::move(workload);
    owner.ref = owner.workload ? workload_ref(*owner.workload) : model::WorkloadRef{};
  } else {
    owner.gone = workload.error().code == Errc::not_found;
  }
  owner.ask_again = now + kAskAgainAfter;
  return owner.workload ? &owner : nullptr;
}

const Workloads::Owner* Workloads::netns_owner(std::uint64_t id) {
  if (id == 0 || id == initial_netns_) return nullptr;
  look_around();
  const auto found = namespaces_.find(id);
  return found == namespaces_.end() || !found->second.workload ? nullptr : &found->second;
}

void Workloads::look_around() {
  census_pace_.run(sources_.now, [&] {
    const auto census = sources_.census();
    if (!census) return;
    ++censuses_;
    if (namespaces_.size() >= kMostKnown) namespaces_.clear();
    for (const netns::Resident& resident : census->residents) take(resident);
  });
}

void Workloads::take(const netns::Resident& resident) {
  if (resident.initial) initial_netns_ = resident.id;
  // An empty namespace keeps the name of who has left it.
  if (resident.initial || resident.pids.empty()) return;
  Owner& owner = namespaces_[resident.id];
  owner.workload = resident.workload;
  owner.ref = resident.workload ? workload_ref(*resident.workload) : model::WorkloadRef{};
}

void Workloads::look_for_taps() {
  tap_pace_.run(sources_.now, [&] {
    std::vector<HeldTap> found = sources_.taps();
    for (HeldTap& old : taps_) {
      const bool again = std::ranges::any_of(found, [&](const HeldTap& tap) {
        return tap.netns == old.netns && (tap.name == old.name || (tap.ifindex != 0 && tap.ifindex == old.ifindex));
      });
      if (!again && found.size() < kMostKnown) found.push_back(std::move(old));
    }
    taps_ = std::move(found);
    doubt_taps_ = sources_.now() + kDoubtAfter;
  });
}

template <class Matches>
const model::WorkloadRef* Workloads::find_tap(Matches&& matches) {
  auto found = std::ranges::find_if(taps_, matches);
  if (found == taps_.end() || sources_.now() >= doubt_taps_) {
    look_for_taps();
    found = std::ranges::find_if(taps_, matches);
  }
  return found == taps_.end() ? nullptr : &found->workload;
}

const model::WorkloadRef* Workloads::of_tap(std::uint64_t netns, std::uint32_t ifindex) {
  if (ifindex == 0) return nullptr;
  return find_tap([&](const HeldTap& tap) { return tap.netns == netns && tap.ifindex == ifindex; });
}

const model::WorkloadRef* Workloads::of_tap(std::uint64_t netns, const std::string& name) {
  if (name.empty()) return nullptr;
  return find_tap([&](const HeldTap& tap) { return tap.netns == netns && tap.name == name; });
}

const model::WorkloadRef* Workloads::behind(const model::DeviceConfig& device) {
  if (device.link_kind == "tun" || device.link_kind == "macvtap" || device.link_kind == "ipvtap") {
    return of_tap(device.ref.netns.id, device.ref.ifindex.value);
  }
  if (device.link_kind != "veth" || !device.peer || device.peer->netns == device.ref.netns) return nullptr;
  return of(0, device.peer->netns.id);
}

}  // namespace weir::observe
