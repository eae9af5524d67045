#include "observe/trace/paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

namespace weir::observe {

namespace {

static_assert(DurationHistogram::kBuckets == WEIR_PATH_BUCKETS);

std::string path_hook_name(const weir_path_node& node, const TraceNames& names) {
  const auto found = names.hooks.find(node.hook);
  return found == names.hooks.end() ? fmt::format("hook#{}", node.hook) : found->second;
}

std::string path_drop_reason(const weir_path_node& node, const TraceNames& names) {
  if (node.hook != WEIR_HOOK_kfree_skb) return {};
  return names.drop_reason ? names.drop_reason(node.detail) : fmt::format("#{}", node.detail);
}

model::DeviceRef path_device(const weir_path_node& node, const TraceNames& names) {
  return names.device ? names.device(node.netns, node.ifindex) : model::DeviceRef{};
}

bool is_copy(const PathPlace& place) {
  return (place.node.flags & WEIR_PATH_COPY) != 0;
}

/// Builds the tree from its roots downwards, so that what hangs on nothing is never reached.
class Builder {
 public:
  Builder(std::span<const PathPlace> places, const TraceNames& names) : names_(names) {
    for (const PathPlace& place : places) {
      if (is_copy(place))
        add_copy(place);
      else
        by_parent_.emplace(place.node.parent, &place);
    }
  }

  model::PathTree build() {
    std::vector<std::pair<std::uint64_t, std::size_t>> open;  // keys of stops whose followers are not there yet
    append_followers(0, std::nullopt, open);
    while (!open.empty()) {
      const auto [key, stop] = open.back();
      open.pop_back();
      append_followers(key, stop, open);
    }
    count_cut();
    for (std::size_t stop = 0; stop < tree_.stops.size(); ++stop) close(stop);
    sort();
    return std::move(tree_);
  }

 private:
  void append_followers(std::uint64_t key, std::optional<std::size_t> before,
                        std::vector<std::pair<std::uint64_t, std::size_t>>& open) {
    const auto [begin, end] = by_parent_.equal_range(key);
    for (auto at = begin; at != end; ++at) {
      const PathPlace& place = *at->second;
      const std::size_t index = tree_.stops.size();
      tree_.stops.push_back(stop_of(place, before));
      hooks_.push_back(place.node.hook);
      if (before)
        tree_.stops[*before].after.push_back(index);
      else
        tree_.roots.push_back(index);
      open.emplace_back(place.key, index);
    }
    by_parent_.erase(begin, end);
  }

  [[nodiscard]] model::PathStop stop_of(const PathPlace& place, std::optional<std::size_t> before) const {
    const weir_path_node& node = place.node;
    model::PathStop stop{.hook = path_hook_name(node, names_),
                         .device = path_device(node, names_),
                         .drop_reason = path_drop_reason(node, names_),
                         .before = before,
                         .after = {},
                         .packets = node.packets,
                         .ended = node.ends,
                         .unseen = 0,
                         .part = (node.flags & WEIR_PATH_PART) != 0,
                         .time = {}};
    // Where a way begins nothing was waited for.
    if (before && !stop.part) stop.time = DurationHistogram(node.buckets, node.sum_ns, node.max_ns);
    return stop;
  }

  void add_copy(const PathPlace& place) {
    const auto key = std::tuple(place.node.netns, place.node.ifindex, place.node.hook, place.node.detail);
    const auto [at, is_new] = copies_.try_emplace(key, tree_.copies.size());
    if (is_new) {
      tree_.copies.push_back({.hook = path_hook_name(place.node, names_),
                              .device = path_device(place.node, names_),
                              .drop_reason = path_drop_reason(place.node, names_),
                              .packets = 0});
    }
    tree_.copies[at->second].packets += place.node.packets;
  }

  /// What is left was not reached from a beginning.
  void count_cut() {
    std::map<std::uint64_t, bool> keys;
    for (const auto& [parent, place] : by_parent_) keys[place->key] = true;
    for (const auto& [parent, place] : by_parent_) {
      ++tree_.cut_stops;
      if (!keys.contains(parent)) tree_.cut_packets += place->node.packets;
    }
  }

  /// Packets that came to this stop and to none after it have gone a path that is over.
  void close(std::size_t index) {
    model::PathStop& stop = tree_.stops[index];
    std::uint64_t went_on = 0;
    for (const std::size_t after : stop.after) went_on += tree_.stops[after].part ? 0 : tree_.stops[after].packets;
    const std::uint64_t accounted = went_on + stop.ended;
    stop.unseen = stop.packets > accounted ? stop.packets - accounted : 0;
    if (stop.ended != 0) add_path(index, stop.ended, end_by(index));
    if (stop.unseen != 0) add_path(index, stop.unseen, end_unseen(index));
  }

  void add_path(std::size_t last, std::uint64_t packets, model::JourneyEnd end) {
    model::PacketPath path{.stops = {}, .packets = packets, .end = end};
    for (std::optional<std::size_t> at = last; at; at = tree_.stops[*at].before) path.stops.push_back(*at);
    std::ranges::reverse(path.stops);
    tree_.paths.push_back(std::move(path));
  }

  [[nodiscard]] model::JourneyEnd end_by(std::size_t last) const {
    for (std::optional<std::size_t> at = last; at; at = tree_.stops[*at].before) {
      if (hooks_[*at] == WEIR_HOOK_skb_copy_datagram_iovec) return model::JourneyEnd::delivered;
    }
    if (hooks_[last] == WEIR_HOOK_kfree_skb) return model::JourneyEnd::dropped;
    return hooks_[last] == WEIR_HOOK_consume_skb ? model::JourneyEnd::consumed : model::JourneyEnd::unknown;
  }

  [[nodiscard]] model::JourneyEnd end_unseen(std::size_t last) const {
    switch (hooks_[last]) {
      case WEIR_HOOK_tcp_probe:
        return model::JourneyEnd::arrived;
      case WEIR_HOOK_skb_copy_datagram_iovec:
        return model::JourneyEnd::delivered;
      case WEIR_HOOK_napi_gro_receive_entry:
      case WEIR_HOOK_napi_gro_frags_entry:
        return model::JourneyEnd::merged;
      default:
        return model::JourneyEnd::unknown;
    }
  }

  void sort() {
    const auto packets_of = [this](std::size_t stop) { return tree_.stops[stop].packets; };
    std::ranges::stable_sort(tree_.roots, std::ranges::greater{}, packets_of);
    for (model::PathStop& stop : tree_.stops) std::ranges::stable_sort(stop.after, std::ranges::greater{}, packets_of);
    std::ranges::stable_sort(tree_.paths, std::ranges::greater{}, &model::PacketPath::packets);
    std::ranges::stable_sort(tree_.copies, std::ranges::greater{}, &model::CopyStop::packets);
  }

  const TraceNames& names_;
  std::multimap<std::uint64_t, const PathPlace*> by_parent_;
  std::map<std::tuple<std::uint64_t, std::uint32_t, std::uint16_t, std::uint16_t>, std::size_t> copies_;
  std::vector<std::uint16_t> hooks_;  ///< numbers, by index of the stop
  model::PathTree tree_;
};

}  // namespace

model::PathTree build_paths(std::span<const PathPlace> places, std::uint64_t lost_steps, const TraceNames& names) {
  model::PathTree tree = Builder(places, names).build();
  tree.lost_steps = lost_steps;
  return tree;
}

}  // namespace weir::observe
