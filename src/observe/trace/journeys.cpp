#include "observe/trace/journeys.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace weir::observe {

namespace {

/// How often all open journeys are looked through.
constexpr std::uint64_t kLookEveryNs = 20'000'000;

std::vector<RawJourney> sorted(std::vector<RawJourney> journeys) {
  std::ranges::sort(journeys, {}, &RawJourney::first_ns);
  return journeys;
}

/// Numbers that are missing in the sequences of the branches.
std::uint32_t gaps(const std::vector<model::TraceEvent>& events) {
  std::map<std::uint16_t, std::pair<std::uint32_t, std::set<std::uint32_t>>> branches;
  for (const model::TraceEvent& event : events) {
    auto& [highest, seen] = branches[event.branch];
    highest = std::max(highest, event.sequence);
    seen.insert(event.sequence);
  }
  std::uint32_t missing = 0;
  for (const auto& [branch, numbers] : branches) {
    missing += numbers.first + 1 - static_cast<std::uint32_t>(numbers.second.size());
  }
  return missing;
}

/// Branches among each other by time, the events of one by the kernel's own count.
void put_in_order(std::vector<model::TraceEvent>& events) {
  std::ranges::stable_sort(events, {}, &model::TraceEvent::time_ns);
  std::map<std::uint16_t, std::vector<std::size_t>> places;
  for (std::size_t index = 0; index < events.size(); ++index) places[events[index].branch].push_back(index);
  for (const auto& [branch, indices] : places) {
    std::vector<model::TraceEvent> own;
    for (const std::size_t index : indices) own.push_back(std::move(events[index]));
    std::ranges::stable_sort(own, {}, &model::TraceEvent::sequence);
    for (std::size_t at = 0; at < indices.size(); ++at) events[indices[at]] = std::move(own[at]);
  }
}

/// Whether it is freed as one of the packets that GRO put into the list of another one, together with that: the kernel
/// calls this a drop without a reason.
bool freed_with_what_it_merged_into(const model::TraceEvent& event) {
  return event.drop && event.drop->location.starts_with("skb_release_data");
}

/// Beside a packet, and its end as far as hooks can see it: it has done what it came for.
bool is_taken_in(std::uint16_t hook) {
  return hook == WEIR_HOOK_inet_sock_set_state || hook == WEIR_HOOK_sk_data_ready ||
         hook == WEIR_HOOK_tcp_receive_reset || hook == WEIR_HOOK_tcp_retransmit_synack;
}

model::JourneyEnd end_of(const std::vector<model::TraceEvent>& events) {
  bool read = false;
  bool dropped = false;
  bool merged = false;
  const model::TraceEvent* last = &events.front();
  for (const model::TraceEvent& event : events) {
    if (event.hook.id == WEIR_HOOK_skb_copy_datagram_iovec) read = true;
    if (event.hook.id == WEIR_HOOK_kfree_skb && event.last) {
      (freed_with_what_it_merged_into(event) ? merged : dropped) = true;
    }
    if (!event.beside || is_taken_in(event.hook.id)) last = &event;
  }
  // A ping's reply is read from a raw socket by way of a clone, and the packet itself found no socket: that is no loss.
  if (read) return model::JourneyEnd::delivered;
  if (dropped) return model::JourneyEnd::dropped;
  if (merged) return model::JourneyEnd::merged;
  switch (last->hook.id) {
    case WEIR_HOOK_consume_skb:
      return model::JourneyEnd::consumed;
    case WEIR_HOOK_tcp_probe:
    case WEIR_HOOK_inet_sock_set_state:
    case WEIR_HOOK_sk_data_ready:
    case WEIR_HOOK_tcp_receive_reset:
    case WEIR_HOOK_tcp_retransmit_synack:
      return model::JourneyEnd::arrived;
    case WEIR_HOOK_napi_gro_receive_entry:
    case WEIR_HOOK_napi_gro_frags_entry:
      return model::JourneyEnd::merged;
    default:
      return last->hook.name.starts_with("nf:LOCAL_IN") ? model::JourneyEnd::arrived : model::JourneyEnd::unknown;
  }
}

}  // namespace

Result<void> JourneyBuilder::add(std::span<const std::byte> record) {
  const auto head = record_head(record);
  if (!head) return std::unexpected(head.error());
  RawJourney& journey = head->journey == 0 ? alone_.emplace_back() : open_[head->journey];
  if (journey.ends.empty()) {
    journey.id = head->journey;
    journey.first_ns = head->time_ns;
  }
  journey.first_ns = std::min<std::uint64_t>(journey.first_ns, head->time_ns);
  journey.last_ns = std::max<std::uint64_t>(journey.last_ns, head->time_ns);
  journey.waiting = head->hook == WEIR_HOOK_neigh_event_send_done;
  if ((head->flags & WEIR_FLAG_FIRST) != 0) ++journey.started;
  if ((head->flags & WEIR_FLAG_LAST) != 0) ++journey.ended;
  journey.bytes.insert(journey.bytes.end(), record.begin(), record.end());
  journey.ends.push_back(static_cast<std::uint32_t>(journey.bytes.size()));
  return {};
}

std::vector<RawJourney> JourneyBuilder::take_finished(std::uint64_t now_ns) {
  if (now_ns < looked_ns_ + kLookEveryNs && open_.size() <= limits_.open) return {};
  looked_ns_ = now_ns;
  const bool crowded = open_.size() > limits_.open;
  std::vector<RawJourney> finished = std::exchange(alone_, {});
  for (auto at = open_.begin(); at != open_.end();) {
    const RawJourney& journey = at->second;
    const std::uint64_t quiet = now_ns > journey.last_ns ? now_ns - journey.last_ns : 0;
    const bool ended = journey.started != 0 && journey.ended >= journey.started;
    const auto patience = ended ? limits_.linger : journey.waiting ? limits_.waiting : limits_.idle;
    const bool over = quiet > static_cast<std::uint64_t>(patience.count());
    // In a crowd everything that is not happening right now goes.
    if (over || (crowded && quiet > static_cast<std::uint64_t>(limits_.linger.count()))) {
      finished.push_back(std::move(at->second));
      at = open_.erase(at);
    } else {
      ++at;
    }
  }
  return sorted(std::move(finished));
}

std::vector<RawJourney> JourneyBuilder::take_all() {
  std::vector<RawJourney> all = std::exchange(alone_, {});
  for (auto& [id, journey] : open_) all.push_back(std::move(journey));
  open_.clear();
  return sorted(std::move(all));
}

Result<model::Journey> build_journey(const RawJourney& raw, const TraceNames& names) {
  model::Journey journey;
  journey.id = raw.id;
  std::uint32_t begin = 0;
  for (const std::uint32_t end : raw.ends) {
    const auto record = std::span(raw.bytes).subspan(begin, end - begin);
    begin = end;
    auto head = record_head(record);
    if (!head) return pass(std::move(head));
    auto event = decode(record, names);
    if (!event) return pass(std::move(event));
    constexpr std::uint8_t kBeginning = WEIR_FLAG_FIRST | WEIR_FLAG_ORIGIN;
    if ((head->flags & kBeginning) == kBeginning) journey.begins = true;
    journey.events.push_back(*std::move(event));
  }
  put_in_order(journey.events);
  journey.lost_events = gaps(journey.events);
  journey.end = end_of(journey.events);
  return journey;
}

}  // namespace weir::observe
