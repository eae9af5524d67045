// Follows skb->queue_mapping along the path to a few devices and says where it changed. Loaded on demand.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/queues.h"
#include "netns/netns.h"
#include "observe/dataplane/dataplane.h"
#include "observe/queues/queue_reader.h"

namespace weir::observe {

/// What the follower attached, and so which intervals it can tell apart.
struct FollowerReach {
  bool netfilter = false;  ///< BPF netfilter links (6.4) bracket each hook of the routed path
  bool egress = false;     ///< tcx egress (6.6) sees the value right before the pick
  bool functions = false;  ///< fentry and fexit bracket a clsact's filters, and see what the pick goes by

  /// Whether the value is read right before the pick: that makes attribution exact.
  [[nodiscard]] bool before_pick() const noexcept { return egress || functions; }
};

/// Programs at the tracepoints of the path (all namespaces) and, where they can be had, at tcf_classify() and
/// netdev_core_pick_tx(); netfilter links in the namespaces of the targets, and tcx egress on the targets. All of it
/// hangs on descriptors of this process: nothing is left after any exit.
class PathFollower {
 public:
  /// Starts following packets bound for `targets`. Each rung of the ladder is tried; what fails narrows `reach()`.
  static Result<PathFollower> start(const DataPlane& data_plane, const std::vector<model::DeviceRef>& targets,
                                    const std::string& btf_path = {});

  PathFollower(PathFollower&&) noexcept;
  PathFollower& operator=(PathFollower&&) noexcept;
  ~PathFollower();

  [[nodiscard]] const FollowerReach& reach() const;
  /// The changes seen so far for one target, most packets first. The origin is the device of the target's own namespace
  /// by which the packets came in (ifindex 0: sent by a local socket).
  [[nodiscard]] Result<std::vector<model::MappingChange>> changes(const model::DeviceRef& target,
                                                                  const model::HostConfig& config) const;

 private:
  struct Parts;
  explicit PathFollower(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace weir::observe
