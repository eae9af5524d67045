#include "observe/flows/conntrack/table.h"

#include <iterator>

namespace weir::observe {

std::size_t ConntrackTable::Hash::operator()(const Row& row) const noexcept {
  return model::hash_of(row.entry.original) ^ (std::uint64_t{row.entry.zone} << 16U | row.entry.icmp_id);
}

/// What the kernel tells entries apart by. Zones of one direction alone are taken for those of both.
bool ConntrackTable::Equal::operator()(const Row& a, const Row& b) const noexcept {
  return a.entry.original == b.entry.original && a.entry.zone == b.entry.zone && a.entry.icmp_id == b.entry.icmp_id;
}

/// nullptr: there is no room. What is no part of its identity may be changed in place.
ConntrackTable::Row* ConntrackTable::find_or_add(const model::ConntrackEntry& entry) {
  Row row;
  row.entry = entry;
  row.entry.netns = netns_;
  const auto known = rows_.find(row);
  if (known != rows_.end()) return const_cast<Row*>(&*known);
  if (rows_.size() >= most_) {
    ++not_kept_;
    return nullptr;
  }
  return const_cast<Row*>(&*rows_.insert(row).first);
}

void ConntrackTable::end(Row row, const OverVisitor& over) {
  const bool was_over = row.entry.over();
  row.entry.ended = true;
  if (!was_over && over) over(row.entry);
  if (ended_.size() >= most_) {
    ++not_kept_;
    return;
  }
  ended_.push_back(row.entry);
}

void ConntrackTable::take_event(const ConntrackMessage& message, const OverVisitor& over) {
  if (message.destroyed) {
    Row wanted;
    wanted.entry = message.entry;
    const auto known = rows_.find(wanted);
    // Another has the tuple already: a dump overtook this event.
    if (known == rows_.end() || known->entry.id != message.entry.id) return;
    Row row = rows_.extract(known).value();
    if (message.status) row.entry.status = *message.status;
    if (message.entry.tcp_state) row.entry.tcp_state = message.entry.tcp_state;
    if (message.entry.original_count) row.entry.original_count = message.entry.original_count;
    if (message.entry.reply_count) row.entry.reply_count = message.entry.reply_count;
    row.entry.timeout_s.reset();
    end(row, over);
    return;
  }
  Row* row = find_or_add(message.entry);
  if (row == nullptr) return;
  model::ConntrackEntry& entry = row->entry;
  const bool was_over = entry.over();
  row->told_by_events = true;
  entry.id = message.entry.id;
  entry.reply = message.entry.reply;
  if (message.status) entry.status = *message.status;
  if (message.mark) entry.mark = *message.mark;
  if (message.entry.timeout_s) entry.timeout_s = message.entry.timeout_s;
  if (message.entry.tcp_state) entry.tcp_state = message.entry.tcp_state;
  if (message.entry.started) entry.started = message.entry.started;
  if (!was_over && entry.over() && over) over(entry);
}

void ConntrackTable::take_dumped(const ConntrackMessage& message, const OverVisitor& over) {
  Row* row = find_or_add(message.entry);
  if (row == nullptr) return;
  const bool was_over = row->entry.over();
  row->dump = dump_;
  const std::uint64_t netns = row->entry.netns;
  row->entry = message.entry;
  row->entry.netns = netns;
  if (!was_over && row->entry.over() && over) over(row->entry);
}

void ConntrackTable::end_dump(const OverVisitor& over) {
  for (auto row = rows_.begin(); row != rows_.end();) {
    if (row->dump == dump_ || row->told_by_events) {
      ++row;
      continue;
    }
    const auto next = std::next(row);
    end(rows_.extract(row).value(), over);
    row = next;
  }
}

void ConntrackTable::distrust_events() {
  for (const Row& row : rows_) const_cast<Row&>(row).told_by_events = false;
}

void ConntrackTable::end_all(const OverVisitor& over) {
  while (!rows_.empty()) end(rows_.extract(rows_.begin()).value(), over);
}

void ConntrackTable::each(const std::function<void(const model::ConntrackEntry&)>& visit) const {
  for (const model::ConntrackEntry& entry : ended_) visit(entry);
  for (const Row& row : rows_) visit(row.entry);
}

void ConntrackTable::forget_ended() {
  ended_.clear();
  not_kept_ = 0;
}

}  // namespace weir::observe
