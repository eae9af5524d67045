#include "observe/flows/flow_table.h"

#include <algorithm>
#include <atomic>
#include <numeric>

namespace weir::observe {

namespace {

/// Counters of one flow from two rows, or from before it was taken out and since.
weir_flow_count sum(const weir_flow_count& before, const weir_flow_count& more) {
  if (before.packets == 0) return more;
  weir_flow_count all = more;
  all.bytes += before.bytes;
  all.packets += before.packets;
  all.extra_packets += before.extra_packets;
  all.extra_bytes += before.extra_bytes;
  all.first_ns = std::min(before.first_ns, more.first_ns);
  all.last_ns = std::max(before.last_ns, more.last_ns);
  all.tcp_flags |= before.tcp_flags;
  all.elephant |= before.elephant;
  if (all.cgroup == 0) all.cgroup = before.cgroup;
  if (all.has_tcp == 0) {
    all.has_tcp = before.has_tcp;
    all.srtt_us = before.srtt_us;
    all.retransmits = before.retransmits;
  }
  return all;
}

Result<std::uint64_t> sum_of(const DataStatMap& stats, std::uint32_t which) {
  auto by_cpu = stats.lookup(which);
  if (!by_cpu) return pass(std::move(by_cpu));
  return std::accumulate(by_cpu->begin(), by_cpu->end(), std::uint64_t{0});
}

FlowRowMark mark_of(const weir_flow_count& count) {
  return {.first_ns = count.first_ns,
          .bytes = count.bytes,
          .packets = count.packets,
          .extra_packets = count.extra_packets,
          .extra_bytes = count.extra_bytes};
}

void add(weir_flow_count& count, const FlowRowMark& mark) {
  count.bytes += mark.bytes;
  count.packets += mark.packets;
  count.extra_packets += mark.extra_packets;
  count.extra_bytes += mark.extra_bytes;
}

FlowPlace place_of(const weir_flow_id& id) {
  return {id.netns, id.ifindex, flow_direction(id.direction)};
}

/// The round is in the upper bits of a dead row's state: the next owner knows by it whether the row was taken out.
constexpr unsigned kRoundShift = 8;

}  // namespace

std::vector<std::uint32_t> FlowBaseline::marked() const {
  std::vector<std::uint32_t> used;
  for (std::uint32_t row = 0; row < rows.size(); ++row) {
    if (rows[row].first_ns != 0) used.push_back(row);
  }
  return used;
}

void FlowTable::remember_for_others(TakeOut take_out) {
  take_out_ = std::move(take_out);
  seen_.assign(data_plane_->flows().rows().size(), {});
  marks_ = seen_;
}

void FlowTable::continue_from(FlowBaseline baseline) {
  for (weir_flow_row& row : data_plane_->flows().rows()) {
    std::atomic_ref state(row.state);
    const std::uint64_t was = state.load(std::memory_order_acquire);
    if ((was & ((1U << kRoundShift) - 1)) != WEIR_FLOW_DEAD) continue;
    const bool taken_out = was >> kRoundShift <= baseline.round;
    state.store(taken_out ? WEIR_FLOW_FREE : WEIR_FLOW_LIVE, std::memory_order_release);
  }
  round_ = baseline.round;
  baseline.rows.resize(marks_.size());
  marks_ = baseline.rows;
  overflows_at_start_ = baseline.overflows;
  forgotten_ = baseline.ended;
  ended_ = baseline.ended;
  continued_ = std::move(baseline);
}

FlowBaseline FlowTable::baseline() const {
  FlowBaseline baseline{
      .round = round_, .rows = marks_, .overflows = overflows_at_start_, .sketched = {}, .ended = ended_};
  for (const auto& [id, record] : flows_) {
    if (record.sketched && record.at_start.packets != 0) baseline.sketched.emplace(id, record.at_start);
  }
  return baseline;
}

Result<void> FlowTable::refresh(std::chrono::nanoseconds now) {
  if (auto read = read_flows(); !read) return read;
  if (auto read = read_overflows(); !read) return read;
  if (auto read = read_sketch(); !read) return read;
  continued_.reset();
  if (auto done = retire(now); !done) return done;
  forget();
  return {};
}

void FlowTable::begin_window() {
  std::erase_if(flows_, [](const auto& entry) { return entry.second.gone; });
  for (auto& [id, record] : flows_) record.at_start = record.now;
  overflows_at_start_ = overflows_;
  forgotten_.clear();
  marks_ = seen_;
  ended_.clear();
}

Result<void> FlowTable::read_flows() {
  in_kernel_ = 0;
  ++round_;
  std::ranges::fill(seen_, FlowRowMark{});
  const std::span<weir_flow_row> rows = data_plane_->flows().rows();
  for (std::size_t index = 0; index < rows.size(); ++index) {
    weir_flow_row& row = rows[index];
    if (std::atomic_ref(row.state).load(std::memory_order_acquire) != WEIR_FLOW_LIVE) continue;
    ++in_kernel_;
    FlowRecord& record = flows_[row.id];
    if (record.sketched) record = {};
    record.gone = false;
    // The first of its rows in this round replaces what was known, another one is added.
    const weir_flow_count count = row.count;
    record.now = sum(record.round == round_ ? record.now : record.retired, count);
    record.rows = record.round == round_ ? record.rows + 1 : 1;
    record.round = round_;
    if (!seen_.empty()) seen_[index] = mark_of(count);
    if (continued_ && marks_[index].first_ns == count.first_ns) add(record.at_start, marks_[index]);
  }
  return data_plane_->flow_nats().for_each([&](const weir_flow_id& id, const weir_flow_nat& nat) {
    const auto found = flows_.find(id);
    if (found != flows_.end()) found->second.nat = nat;
  });
}

Result<void> FlowTable::read_overflows() {
  auto read = data_plane_->flow_overflows().for_each([&](const weir_flow_place& place, const weir_flow_overflow& sum) {
    overflows_[{place.netns, place.ifindex, flow_direction(place.direction)}] = sum;
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
    if (continued_ && continued_->sketched.contains(id)) record.at_start = continued_->sketched[id];
    // Others had its row in between, and it began anew.
    if (count.bytes < record.at_start.bytes) record.at_start = {};
    record.sketched = true;
    record.round = round_;
    record.now = count;
  }
  std::erase_if(flows_, [this](const auto& entry) { return entry.second.sketched && entry.second.round != round_; });
  return {};
}

/// Takes the rows of silent flows out: dead first, so that no program finds them, then read once more, then free.
Result<void> FlowTable::retire(std::chrono::nanoseconds now) {
  const std::span<weir_flow_row> rows = data_plane_->flows().rows();
  const bool crowded = in_kernel_ > rows.size() / 8 * 3;
  const auto now_ns = static_cast<std::uint64_t>(now.count());
  std::vector<std::uint32_t> dead;
  for (std::uint32_t index = 0; index < rows.size(); ++index) {
    weir_flow_row& row = rows[index];
    std::atomic_ref state(row.state);
    if (state.load(std::memory_order_acquire) != WEIR_FLOW_LIVE) continue;
    const bool closed = tcp_is_closing(row.count.tcp_flags);
    const auto limit = crowded ? retirement_.crowded : closed ? retirement_.closed : retirement_.idle;
    if (row.count.last_ns + static_cast<std::uint64_t>(limit.count()) > now_ns) continue;
    state.store(WEIR_FLOW_DEAD | round_ << kRoundShift, std::memory_order_seq_cst);
    dead.push_back(index);
  }
  for (const std::uint32_t index : dead) take_out(rows[index], index);
  if (take_out_ && !dead.empty()) {
    if (auto told = take_out_(round_, ended_); !told) return told;
  }
  for (const std::uint32_t index : dead) {
    std::atomic_ref(rows[index].state).store(WEIR_FLOW_FREE, std::memory_order_release);
  }
  return {};
}

void FlowTable::take_out(const weir_flow_row& row, std::uint32_t index) {
  const weir_flow_count count = row.count;
  FlowRecord& record = flows_[row.id];
  record.retired = sum(record.retired, count);
  record.gone = record.rows <= 1;
  if (record.rows != 0) --record.rows;
  if (record.gone) record.now = record.retired;
  if (seen_.empty()) return;
  const FlowRowMark& mark = marks_[index];
  const FlowRowMark base = mark.first_ns == count.first_ns ? mark : FlowRowMark{};
  ForgottenFlows& ended = ended_[place_of(row.id)];
  ++ended.flows;
  ended.bytes += count.bytes - base.bytes;
  ended.packets += count.packets - base.packets;
  ended.extra_bytes += count.extra_bytes - base.extra_bytes;
  seen_[index] = {};
}

/// Long windows on hosts with much coming and going: what ended is added up, but for elephants.
void FlowTable::forget() {
  if (flows_.size() <= retirement_.remembered) return;
  const auto is_over = [](const auto& entry) { return entry.second.gone && entry.second.now.elephant == 0; };
  if (static_cast<std::size_t>(std::ranges::count_if(flows_, is_over)) <= retirement_.remembered) return;
  std::erase_if(flows_, [&](const auto& entry) {
    if (!is_over(entry)) return false;
    const auto& [id, record] = entry;
    ForgottenFlows& sum = forgotten_[place_of(id)];
    ++sum.flows;
    sum.bytes += record.now.bytes - record.at_start.bytes;
    sum.packets += record.now.packets - record.at_start.packets;
    sum.extra_bytes += record.now.extra_bytes - record.at_start.extra_bytes;
    return true;
  });
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
