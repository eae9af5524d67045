#include "observe/flows/conntrack/plane.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/text.h"

namespace weir::observe {

namespace {

constexpr std::chrono::nanoseconds kLookEvery = std::chrono::seconds(1);
/// What took t is not done again before this many t are over.
constexpr int kShareOfTime = 20;

/// 0 where connections are not tracked: without the module the file is missing.
std::uint64_t entries_in(const netns::Netns& ns) {
  const auto count = netns::read_sysctl(ns, "net/netfilter/nf_conntrack_count");
  return count ? parse_u64(*count).value_or(0) : 0;
}

}  // namespace

ConntrackPlane::ConntrackPlane(ConntrackRequest request, const Clock& clock)
    : request_(std::move(request)), clock_(&clock) {
  poll();
}

std::size_t ConntrackPlane::kept() const {
  std::size_t all = 0;
  for (const auto& [id, tracked] : tracked_) all += tracked.table.size();
  return all;
}

void ConntrackPlane::meet(const netns::Entry& entry) {
  const auto ns = netns::open(entry);
  if (!ns || entries_in(*ns) == 0) return;
  auto source = ConntrackSource::open(*ns);
  if (!source) {
    unread_[entry.id] = entry.display() + ": " + source.error().message;
    return;
  }
  unread_.erase(entry.id);
  tracked_.emplace(entry.id, Tracked{.source = *std::move(source),
                                     .table = ConntrackTable(
                                         entry.id, request_.most_entries - std::min(request_.most_entries, kept())),
                                     .name = entry.display()});
}

void ConntrackPlane::look_around(Time at_least, const ConntrackTable::OverVisitor& over) {
  const Time begin = clock_->monotonic();
  if (looked_once_ && begin - looked_ < std::max(at_least, kShareOfTime * look_took_)) return;
  looked_once_ = true;
  if (const auto all = request_.namespaces()) {
    std::set<std::uint64_t> here;
    for (const netns::Entry& entry : *all) {
      here.insert(entry.id);
      if (!tracked_.contains(entry.id)) meet(entry);
    }
    for (auto known = tracked_.begin(); known != tracked_.end();) {
      Tracked& tracked = known->second;
      if (here.contains(known->first)) {
        ++known;
        continue;
      }
      drain(tracked, over);
      tracked.table.end_all(over);
      past_events_ += tracked.source.events();
      past_malformed_ += tracked.source.malformed();
      gone_.push_back(std::move(tracked.table));
      known = tracked_.erase(known);
    }
    std::erase_if(unread_, [&](const auto& entry) { return !here.contains(entry.first); });
  }
  looked_ = begin;
  look_took_ = clock_->monotonic() - begin;
}

void ConntrackPlane::dump(std::uint64_t netns, Tracked& tracked, const ConntrackTable::OverVisitor& over) {
  const Time begin = clock_->monotonic();
  tracked.table.begin_dump();
  const auto done =
      tracked.source.dump([&](const ConntrackMessage& message) { tracked.table.take_dumped(message, over); });
  ++dumps_;
  if (done) {
    tracked.table.end_dump(over);
    tracked.stale = false;
    unread_.erase(netns);
  } else {
    unread_[netns] = tracked.name + ": " + done.error().message;
  }
  const Time end = clock_->monotonic();
  tracked.dump_again = end + kShareOfTime * (end - begin);
}

void ConntrackPlane::drain(Tracked& tracked, const ConntrackTable::OverVisitor& over) {
  const auto complete =
      tracked.source.read_events([&](const ConntrackMessage& message) { tracked.table.take_event(message, over); });
  if (complete && *complete) return;
  ++resyncs_;
  tracked.stale = true;
  tracked.table.distrust_events();
}

void ConntrackPlane::poll(const ConntrackTable::OverVisitor& over) {
  look_around(kLookEvery, over);
  for (auto& [id, tracked] : tracked_) {
    drain(tracked, over);
    if (tracked.stale && clock_->monotonic() >= tracked.dump_again) dump(id, tracked, over);
  }
}

void ConntrackPlane::refresh(const ConntrackTable::OverVisitor& over) {
  look_around(Time::zero(), over);
  for (auto& [id, tracked] : tracked_) {
    drain(tracked, over);
    if (clock_->monotonic() < tracked.dump_again) continue;
    dump(id, tracked, over);
    drain(tracked, over);  // what happened while the table was read
  }
}

void ConntrackPlane::begin_window() {
  gone_.clear();
  for (auto& [id, tracked] : tracked_) tracked.table.forget_ended();
}

std::vector<std::shared_ptr<const model::ConntrackEntry>> ConntrackPlane::entries(
    const std::function<bool(const model::ConntrackEntry&)>& wanted) const {
  std::vector<std::shared_ptr<const model::ConntrackEntry>> chosen;
  const auto take = [&](const model::ConntrackEntry& entry) {
    if (wanted(entry)) chosen.push_back(std::make_shared<const model::ConntrackEntry>(entry));
  };
  for (const ConntrackTable& table : gone_) table.each(take);
  for (const auto& [id, tracked] : tracked_) tracked.table.each(take);
  return chosen;
}

model::ConntrackAccount ConntrackPlane::account() const {
  model::ConntrackAccount account;
  account.rung = unread_.empty() ? model::ConntrackRung::events : model::ConntrackRung::packets;
  account.namespaces = tracked_.size() + gone_.size();
  account.entries = kept();
  account.dumps = dumps_;
  account.resyncs = resyncs_;
  account.events = past_events_;
  account.malformed = past_malformed_;
  for (const ConntrackTable& table : gone_) account.not_kept += table.not_kept();
  for (const auto& [id, tracked] : tracked_) {
    if (!tracked.source.tells_events()) account.rung = std::max(account.rung, model::ConntrackRung::dump);
    account.events += tracked.source.events();
    account.malformed += tracked.source.malformed();
    account.not_kept += tracked.table.not_kept();
  }
  for (const auto& [id, why] : unread_) account.unread.push_back(why);
  return account;
}

}  // namespace weir::observe
