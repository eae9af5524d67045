#include "observe/queues/path_follower.h"

#include <fmt/format.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <array>
#include <set>

#include "bpf/link.h"
#include "bpf/skeleton.h"
#include "observe/queues/bpf/path_abi.h"
#include "queue_path.skel.h"

namespace weir::observe {

namespace {

/// Names of the points as users meet them, by enum weir_path_point.
constexpr std::array<const char*, WEIR_POINT_COUNT> kPointNames{"",
                                                                "net:netif_rx",
                                                                "net:netif_receive_skb",
                                                                "tc:ingress first",
                                                                "tc:ingress last",
                                                                "nf:PRE_ROUTING first",
                                                                "nf:PRE_ROUTING last",
                                                                "nf:FORWARD first",
                                                                "nf:FORWARD last",
                                                                "nf:LOCAL_OUT first",
                                                                "nf:LOCAL_OUT last",
                                                                "nf:POST_ROUTING first",
                                                                "nf:POST_ROUTING last",
                                                                "tc:egress first",
                                                                "tc:egress last",
                                                                "tcx:egress",
                                                                "netdev_core_pick_tx",
                                                                "pick"};

/// Before conntrack's defragmentation (-400) and behind the last of the kernel's own (conntrack helpers, 300).
constexpr std::int32_t kFirstPriority = -451;
constexpr std::int32_t kLastPriority = 451;
/// A priority can be held by one BPF link a hook: a second Weir takes the next one outwards.
constexpr int kPriorityTries = 16;

struct NetfilterPoint {
  std::uint32_t hook;
  std::int32_t priority;
};

struct Wanted {
  bool netfilter;
  bool egress;
  bool functions;
};

std::array<std::pair<bpf_program*, NetfilterPoint>, 8> netfilter_points(queue_path& object) {
  auto& programs = object.progs;
  return {{{programs.nf_pre_first, {NF_INET_PRE_ROUTING, kFirstPriority}},
           {programs.nf_pre_last, {NF_INET_PRE_ROUTING, kLastPriority}},
           {programs.nf_forward_first, {NF_INET_FORWARD, kFirstPriority}},
           {programs.nf_forward_last, {NF_INET_FORWARD, kLastPriority}},
           {programs.nf_out_first, {NF_INET_LOCAL_OUT, kFirstPriority}},
           {programs.nf_out_last, {NF_INET_LOCAL_OUT, kLastPriority}},
           {programs.nf_post_first, {NF_INET_POST_ROUTING, kFirstPriority}},
           {programs.nf_post_last, {NF_INET_POST_ROUTING, kLastPriority}}}};
}

Result<void> configure(bpf::Skeleton<queue_path>& skeleton, const DataPlane& data_plane, const Wanted& wanted) {
  queue_path& object = skeleton.get();
  if (const int err = bpf_map__reuse_fd(object.maps.packet_slots, data_plane.packet_slots_fd()); err != 0) {
    return fail_errno(err, "cannot share the data plane's packet memory");
  }
  bpf_program__set_autoload(object.progs.path_egress, wanted.egress);
  if (wanted.egress) {
    if (auto typed = bpf::set_tc_type(object.progs.path_egress); !typed) return typed;
  }
  bpf_program__set_autoload(object.progs.path_tc_first, wanted.functions);
  bpf_program__set_autoload(object.progs.path_tc_last, wanted.functions);
  bpf_program__set_autoload(object.progs.path_picking, wanted.functions);
  for (const auto& [program, point] : netfilter_points(object)) {
    bpf_program__set_autoload(program, wanted.netfilter);
    if (!wanted.netfilter) continue;
    if (auto typed = bpf::set_netfilter_type(program); !typed) return typed;
  }
  return {};
}

Result<bpf::Link> attach_netfilter(bpf_program* program, const NetfilterPoint& point, std::uint32_t family) {
  const std::int32_t step = point.priority < 0 ? -1 : 1;
  for (int attempt = 0;; ++attempt) {
    auto link = bpf::Link::netfilter(
        bpf_program__fd(program), {.family = family, .hook = point.hook, .priority = point.priority + attempt * step});
    if (link || link.error().code != Errc::busy || attempt + 1 == kPriorityTries) return link;
  }
}

/// Attaches inside the namespace that the calling thread is in.
Result<void> attach_namespace(queue_path& object, const std::vector<model::DeviceRef>& devices, const Wanted& wanted,
                              std::vector<bpf::Link>& links) {
  if (wanted.netfilter) {
    for (const auto& [program, point] : netfilter_points(object)) {
      for (const std::uint32_t family : {NFPROTO_IPV4, NFPROTO_IPV6}) {
        auto link = attach_netfilter(program, point, family);
        if (!link) return pass(std::move(link));
        links.push_back(*std::move(link));
      }
    }
  }
  if (!wanted.egress) return {};
  for (const model::DeviceRef& device : devices) {
    auto link = bpf::Link::tcx(bpf_program__fd(object.progs.path_egress), device.ifindex, bpf::TcSide::egress);
    if (!link && link.error().code == Errc::not_found) continue;  // it went away meanwhile
    if (!link) return pass(std::move(link), to_string(device));
    links.push_back(*std::move(link));
  }
  return {};
}

model::PathPoint path_point(std::uint8_t point, std::uint64_t netns, std::uint32_t ifindex,
                            const model::HostConfig& config) {
  if (point == WEIR_POINT_NONE || point >= WEIR_POINT_COUNT) return {};
  return {kPointNames[point], name_device({netns, ifindex}, config)};
}

}  // namespace

struct PathFollower::Parts {
  bpf::Skeleton<queue_path> skeleton;
  std::vector<bpf::Link> links;
  bpf::Map<weir_path_key, std::uint64_t> counts;
  FollowerReach reach;
};

namespace {

Result<std::vector<bpf::Link>> attach_targets(queue_path& object, const std::vector<model::DeviceRef>& targets,
                                              const Wanted& wanted) {
  std::vector<bpf::Link> links;
  std::set<std::uint64_t> done;
  for (const model::DeviceRef& target : targets) {
    if (!done.insert(target.netns.id).second) continue;
    std::vector<model::DeviceRef> devices;
    std::ranges::copy_if(targets, std::back_inserter(devices),
                         [&](const model::DeviceRef& other) { return other.netns == target.netns; });
    auto ns = netns::Netns::open(fmt::format("id:{}", target.netns.id));
    if (!ns && ns.error().code == Errc::not_found) continue;  // it went away meanwhile
    if (!ns) return pass(std::move(ns), target.netns.name);
    auto attached = netns::run_in(*ns, [&] { return attach_namespace(object, devices, wanted, links); });
    if (!attached) return pass(std::move(attached));
  }
  return links;
}

}  // namespace

PathFollower::PathFollower(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
PathFollower::PathFollower(PathFollower&&) noexcept = default;
PathFollower& PathFollower::operator=(PathFollower&&) noexcept = default;
PathFollower::~PathFollower() = default;

Result<PathFollower> PathFollower::start(const DataPlane& data_plane, const std::vector<model::DeviceRef>& targets,
                                         const std::string& btf_path) {
  const auto attempt = [&](const Wanted& wanted) -> Result<PathFollower> {
    auto skeleton = bpf::Skeleton<queue_path>::open(btf_path);
    if (!skeleton) return pass(std::move(skeleton));
    if (auto configured = configure(*skeleton, data_plane, wanted); !configured) return pass(std::move(configured));
    if (auto loaded = skeleton->load(); !loaded) return pass(std::move(loaded));
    auto watched = bpf::Map<weir_path_target, std::uint32_t>::open(skeleton->get().maps.path_targets);
    if (!watched) return pass(std::move(watched));
    for (const model::DeviceRef& target : targets) {
      const weir_path_target key{target.netns.id, target.ifindex.value, 0};
      if (auto added = watched->update(key, 1); !added) return pass(std::move(added));
    }
    auto counts = bpf::Map<weir_path_key, std::uint64_t>::open(skeleton->get().maps.path_changes);
    if (!counts) return pass(std::move(counts));
    auto links = attach_targets(skeleton->get(), targets, wanted);
    if (!links) return pass(std::move(links));
    if (auto attached = skeleton->attach(); !attached) return pass(std::move(attached));
    return PathFollower(std::make_unique<Parts>(*std::move(skeleton), *std::move(links), *std::move(counts),
                                                FollowerReach{wanted.netfilter, wanted.egress, wanted.functions}));
  };
  // The ladder: found by trying, best first. Only the last rung's failure is one.
  constexpr std::array<Wanted, 5> kRungs{{{.netfilter = true, .egress = true, .functions = true},
                                          {.netfilter = true, .egress = true, .functions = false},
                                          {.netfilter = false, .egress = false, .functions = true},
                                          {.netfilter = true, .egress = false, .functions = false},
                                          {.netfilter = false, .egress = true, .functions = false}}};
  for (const Wanted& wanted : kRungs) {
    if (auto follower = attempt(wanted); follower) return follower;
  }
  auto follower = attempt({});
  if (!follower) return pass(std::move(follower), "path follower");
  return follower;
}

const FollowerReach& PathFollower::reach() const {
  return parts_->reach;
}

Result<std::vector<model::MappingChange>> PathFollower::changes(const model::DeviceRef& target,
                                                                const model::HostConfig& config) const {
  std::vector<model::MappingChange> changes;
  auto read = parts_->counts.for_each([&](const weir_path_key& key, std::uint64_t packets) {
    if (key.netns != target.netns.id || key.ifindex != target.ifindex.value || packets == 0) return;
    changes.push_back({.origin = name_device({key.netns, key.origin_ifindex}, config),
                       .from = path_point(key.from_point, key.from_netns, key.from_ifindex, config),
                       .to = path_point(key.to_point, key.to_netns, key.to_ifindex, config),
                       .before = key.before,
                       .after = key.after,
                       .packets = packets});
  });
  if (!read) return pass(std::move(read));
  std::ranges::sort(changes, std::ranges::greater{}, &model::MappingChange::packets);
  return changes;
}

}  // namespace weir::observe
