#include "observe/flows/flow_table.h"

#include <algorithm>
#include <numeric>

namespace weir::observe {

namespace {

constexpr std::uint8_t kTcpFinOrRst = 1U | 4U;

/// Cumulative counters of a flow that was in the table before and has begun anew in it.
weir_flow_count with_retired(const weir_flow_count& current, const weir_flow_count& retired) {
  weir_flow_count sum = current;
  if (retired.packets == 0) return sum;
  sum.bytes += retired.bytes;
  sum.packets += retired.packets;
  sum.extra_packets += retired.extra_packets;
  sum.extra_bytes += retired.extra_bytes;
  sum.first_ns = retired.first_ns;
  sum.tcp_flags |= retired.tcp_flags;
  if (sum.cgroup == 0) sum.cgroup = retired.cgroup;
  return sum;
}

model::FlowDirection direction_of(std::uint32_t direction) {
  return direction == 0 ? model::FlowDirection::tx : model::FlowDirection::rx;
}

Result<std::uint64_t> sum_of(const DataStatMap& stats, std::uint32_t which) {
  auto by_cpu = stats.lookup(which);
  if (!by_cpu) return pass(std::move(by_cpu));
  return std::accumulate(by_cpu->begin(), by_cpu->end(), std::uint64_t{0});
}

}  // namespace

Result<void> FlowTable::refresh(std::chrono::nanoseconds now) {
  if (auto read = read_flows(); !read) return read;
  if (auto read = read_overflows(); !read) return read;
  if (auto read = read_sketch(); !read) return read;
  return retire(now);
}

void FlowTable::begin_window() {
  std::erase_if(flows_, [](const auto& entry) { return entry.second.gone; });
  for (auto& [id, record] : flows_) record.at_start = record.now;
  overflows_at_start_ = overflows_;
}

Result<void> FlowTable::read_flows() {
  in_kernel_ = 0;
  auto read = data_plane_->flows().for_each([&](const weir_flow_id& id, const weir_flow_count& count) {
    ++in_kernel_;
    FlowRecord& record = flows_[id];
    if (record.sketched) record = {};
    record.gone = false;
    record.now = with_retired(count, record.retired);
  });
  if (!read) return read;
  return data_plane_->flow_nats().for_each([&](const weir_flow_id& id, const weir_flow_nat& nat) {
    const auto found = flows_.find(id);
    if (found != flows_.end()) found->second.nat = nat;
  });
}

Result<void> FlowTable::read_overflows() {
  auto read = data_plane_->flow_overflows().for_each([&](const weir_flow_place& place, const weir_flow_overflow& sum) {
    overflows_[{place.netns, place.ifindex, direction_of(place.direction)}] = sum;
  });
  if (!read) return read;
  auto uncounted = sum_of(data_plane_->flow_stats(), WEIR_FLOW_STAT_UNCOUNTED);
  if (!uncounted) return pass(std::move(uncounted));
  uncounted_ = *uncounted;
  auto lost = sum_of(data_plane_->flow_stats(), WEIR_FLOW_STAT_EVENTS_LOST);
  if (!lost) return pass(std::move(lost));
  events_lost_ = *lost;
  return {};
}

/// Heavy flows without room: each CPU's row is a lower bound of what it saw of the flow. They are counted in the
/// overflow of their device already.
Result<void> FlowTable::read_sketch() {
  if (overflows_.empty()) return {};
  std::unordered_map<weir_flow_id, weir_flow_count, FlowIdHash, FlowIdEqual> seen;
  auto read = data_plane_->flow_sketch().for_each([&](std::uint32_t, std::span<const weir_flow_sketch> by_cpu) {
    for (const weir_flow_sketch& row : by_cpu) {
      if (row.id.ethertype == 0) continue;
      weir_flow_count& count = seen[row.id];
      count.bytes += row.bytes;
      count.packets += row.packets;
      count.first_ns = count.first_ns == 0 ? row.since_ns : std::min(count.first_ns, row.since_ns);
      count.last_ns = std::max(count.last_ns, row.last_ns);
    }
  });
  if (!read) return read;
  for (const auto& [id, count] : seen) {
    FlowRecord& record = flows_[id];
    if (record.now.packets != 0 && !record.sketched) continue;
    record.sketched = true;
    record.now = count;
  }
  return {};
}

Result<void> FlowTable::retire(std::chrono::nanoseconds now) {
  const bool crowded = in_kernel_ > data_plane_->flows().max_entries() / 4 * 3;
  const auto now_ns = static_cast<std::uint64_t>(now.count());
  for (auto& [id, record] : flows_) {
    if (record.gone || record.sketched) continue;
    const bool closed = (record.now.tcp_flags & kTcpFinOrRst) != 0;
    const auto limit = crowded ? retirement_.crowded : closed ? retirement_.closed : retirement_.idle;
    if (record.now.last_ns + static_cast<std::uint64_t>(limit.count()) > now_ns) continue;
    auto last = data_plane_->flows().take(id);
    if (!last) return pass(std::move(last));
    if (*last) record.now = with_retired(**last, record.retired);
    record.retired = record.now;
    record.gone = true;
  }
  return {};
}

std::map<FlowPlace, model::FlowCount> FlowTable::overflows() const {
  std::map<FlowPlace, model::FlowCount> window;
  for (const auto& [place, sum] : overflows_) {
    const auto before = overflows_at_start_.find(place);
    const weir_flow_overflow base = before == overflows_at_start_.end() ? weir_flow_overflow{} : before->second;
    window[place] = {.bytes = sum.bytes - base.bytes,
                     .packets = sum.packets - base.packets,
                     .wire_packets = sum.packets - base.packets};
  }
  return window;
}

}  // namespace weir::observe
