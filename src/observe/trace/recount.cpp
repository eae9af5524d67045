#include "observe/trace/recount.h"

#include <algorithm>
#include <bit>

#include "base/histogram.h"

namespace weir::observe {

namespace {

/// The kernel follows as many packets at once; a clone comes much later only while its packet is among them.
constexpr std::size_t kJourneysKnown = 65536;

/// Beside enum weir_path_flag: a place that no record tells of.
constexpr std::uint32_t kUnseenPlace = 1U << 31U;

bool has(const weir_trace_event& event, std::uint8_t flag) {
  return (event.flags & flag) != 0;
}

bool stands_beside(const weir_trace_event& event) {
  return event.journey == 0 || has(event, WEIR_FLAG_BESIDE);
}

/// As trace_emit.h reads them from the packet.
std::array<std::uint32_t, WEIR_WATCH_FIELDS> watched_fields(const weir_trace_event& event) {
  std::array<std::uint32_t, WEIR_WATCH_FIELDS> now{};
  now[WEIR_WATCH_QUEUE_MAPPING] = event.queue_mapping;
  now[WEIR_WATCH_MARK] = event.mark;
  now[WEIR_WATCH_HASH] = event.hash;
  now[WEIR_WATCH_PRIORITY] = event.priority;
  now[WEIR_WATCH_LEN] = event.len;
  now[WEIR_WATCH_GSO_SEGS] = event.gso_segs;
  now[WEIR_WATCH_VLAN] = has(event, WEIR_FLAG_VLAN) ? event.vlan_tci + 1U : 0U;
  now[WEIR_WATCH_DEV] = event.ifindex;
  now[WEIR_WATCH_NETNS] = static_cast<std::uint32_t>(event.netns);
  return now;
}

/// What a packet begins with is news where it is something that somebody has set.
bool is_set_by_somebody(std::uint32_t field) {
  return field == WEIR_WATCH_QUEUE_MAPPING || field == WEIR_WATCH_MARK || field == WEIR_WATCH_PRIORITY ||
         field == WEIR_WATCH_VLAN;
}

}  // namespace

Result<void> Recount::add(const RawJourney& journey) {
  Walks* walks = nullptr;
  std::uint32_t begin = 0;
  // In the order in which they were sent, which is that of the programs' runs.
  for (const std::uint32_t end : journey.ends) {
    const auto event = record_head(std::span(journey.bytes).subspan(begin, end - begin));
    begin = end;
    if (!event) return std::unexpected(event.error());
    if (stands_beside(*event)) ++beside_[event->hook];
    if (event->journey == 0) continue;
    if (walks == nullptr) walks = &walks_of(event->journey);
    take(*walks, *event);
  }
  return {};
}

Recount::Walks& Recount::walks_of(std::uint64_t journey) {
  const auto [at, is_new] = walks_.try_emplace(journey);
  if (is_new) {
    order_.push_back(journey);
    if (order_.size() > kJourneysKnown) {
      walks_.erase(order_.front());
      order_.pop_front();
    }
  }
  return walks_.at(journey);
}

Recount::Walk& Recount::walk_of(Walks& walks, const weir_trace_event& event) {
  std::vector<Walk>& branch = walks.branches[event.branch];
  if (has(event, WEIR_FLAG_FIRST) || branch.empty()) return branch.emplace_back();
  const auto at = std::ranges::find(branch, event.sequence, &Walk::sequence);
  return at == branch.end() ? branch.back() : *at;
}

void Recount::take(Walks& walks, const weir_trace_event& event) {
  Walk& walk = walk_of(walks, event);
  const bool is_first = has(event, WEIR_FLAG_FIRST);
  const std::uint32_t missing = event.sequence > walk.sequence ? event.sequence - walk.sequence : 0;
  walk.sequence = std::max(walk.sequence, event.sequence + 1);
  if (missing != 0) {
    lost_steps_ += missing;
    walk.path = key_of({.before = walk.path, .flags = kUnseenPlace});
  }
  if (has(event, WEIR_FLAG_BESIDE)) return;
  const SegmentKey segment{event.hash, event.netns, event.ifindex};
  if (is_first && event.branch != 0 && event.hook == WEIR_HOOK_net_dev_start_xmit && walks.cut_at.contains(segment)) {
    walk.path = walks.cut_at.at(segment);
  }
  watch(walk, event, missing != 0);
  step(walk, event);
  walk.netns = event.netns;
  walk.ifindex = event.ifindex;
  walk.hook = event.hook;
  // From here on the programs take what leaves with this hash for segments of it.
  if (event.hook == WEIR_HOOK_net_dev_queue && event.gso_size != 0 && event.hash != 0) {
    walks.cut_at[segment] = walk.path;
  }
}

void Recount::watch(Walk& walk, const weir_trace_event& event, bool after_gap) {
  const auto now = watched_fields(event);
  for (std::uint32_t field = 0; field < WEIR_WATCH_FIELDS && !after_gap; ++field) {
    if ((watch_mask_ >> field & 1U) == 0 || now[field] == walk.watched[field]) continue;
    if (!has(event, WEIR_FLAG_FIRST) || is_set_by_somebody(field)) count_change(walk, event, field, now[field]);
  }
  walk.watched = now;
}

void Recount::count_change(const Walk& walk, const weir_trace_event& event, std::uint32_t field, std::uint32_t after) {
  const bool is_first = has(event, WEIR_FLAG_FIRST);
  const weir_watch_key key{.from_netns = is_first ? event.netns : walk.netns,
                           .to_netns = event.netns,
                           .from_ifindex = is_first ? event.ifindex : walk.ifindex,
                           .to_ifindex = event.ifindex,
                           .before = walk.watched[field],
                           .after = after,
                           .from_hook = is_first ? std::uint16_t{0} : walk.hook,
                           .to_hook = event.hook,
                           .field = field};
  ++changes_[std::bit_cast<std::array<std::byte, sizeof key>>(key)];
}

std::uint64_t Recount::key_of(const Step& step) {
  return keys_.try_emplace(step, keys_.size() + 1).first->second;
}

void Recount::step(Walk& walk, const weir_trace_event& event) {
  const bool is_clone = has(event, WEIR_FLAG_CLONE);
  const bool is_first = has(event, WEIR_FLAG_FIRST);
  const bool is_part = !is_clone && is_first && event.branch != 0 && walk.path != 0;
  const Step taken{
      .before = walk.path,
      .netns = event.netns,
      .ifindex = event.ifindex,
      .flags = (is_clone ? std::uint32_t{WEIR_PATH_COPY} : 0U) | (is_part ? std::uint32_t{WEIR_PATH_PART} : 0U),
      .hook = event.hook,
      .detail = event.hook == WEIR_HOOK_kfree_skb ? static_cast<std::uint16_t>(event.result) : std::uint16_t{0}};
  const std::uint64_t key = key_of(taken);
  weir_path_node& node = nodes_[key];
  node.parent = taken.before;
  node.netns = taken.netns;
  node.ifindex = taken.ifindex;
  node.hook = taken.hook;
  node.detail = taken.detail;
  node.flags = taken.flags;
  const std::uint64_t took = is_first || event.time_ns < walk.seen_ns ? 0 : event.time_ns - walk.seen_ns;
  ++node.packets;
  node.sum_ns += took;
  node.max_ns = std::max<std::uint64_t>(node.max_ns, took);
  ++node.buckets[DurationHistogram::bucket_of(took)];
  if (has(event, WEIR_FLAG_LAST)) ++node.ends;
  if (is_clone) return;
  walk.path = key;
  walk.seen_ns = event.time_ns;
}

std::vector<PathPlace> Recount::paths() const {
  std::vector<PathPlace> places;
  places.reserve(nodes_.size());
  for (const auto& [key, node] : nodes_) places.push_back({key, node});
  return places;
}

std::vector<WatchedChange> Recount::changes() const {
  std::vector<WatchedChange> changes;
  changes.reserve(changes_.size());
  for (const auto& [key, packets] : changes_) changes.push_back({std::bit_cast<weir_watch_key>(key), packets});
  return changes;
}

}  // namespace weir::observe
