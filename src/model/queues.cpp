#include "model/queues.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace weir::model {

const char* to_string(QueueRule rule) {
  switch (rule) {
    case QueueRule::hash:
      return "hash";
    case QueueRule::xps:
      return "xps";
    case QueueRule::recorded:
      return "recorded";
    case QueueRule::socket:
      return "socket";
    case QueueRule::driver:
      return "driver";
    case QueueRule::single:
      return "single";
    case QueueRule::unexplained:
      break;
  }
  return "unexplained";
}

std::uint64_t OriginCount::sampled() const {
  return std::accumulate(per_queue.begin(), per_queue.end(), std::uint64_t{0});
}

std::uint64_t QueueWindow::tx_packets() const {
  return std::accumulate(tx.begin(), tx.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const QueueCount& count) { return sum + count.packets; });
}

double effective_queues(const std::vector<QueueCount>& counts) {
  double sum = 0;
  double squares = 0;
  for (const QueueCount& count : counts) {
    const auto packets = static_cast<double>(count.packets);
    sum += packets;
    squares += packets * packets;
  }
  return squares > 0 ? sum * sum / squares : 0;
}

namespace {

void add(std::vector<QueueCount>& into, const std::vector<QueueCount>& more) {
  for (const QueueCount& count : more) {
    auto row = std::ranges::find(into, count.queue, &QueueCount::queue);
    if (row == into.end()) row = into.insert(into.end(), QueueCount{.queue = count.queue});
    row->packets += count.packets;
    row->bytes += count.bytes;
    row->wire_packets += count.wire_packets;
  }
  std::ranges::sort(into, {}, &QueueCount::queue);
}

void add(std::vector<std::uint64_t>& into, const std::vector<std::uint64_t>& more) {
  if (into.size() < more.size()) into.resize(more.size());
  std::ranges::transform(more, into, into.begin(), std::plus<>{});
}

void add(OriginCount& into, const OriginCount& more) {
  add(into.per_queue, more.per_queue);
  std::ranges::transform(more.per_rule, into.per_rule, into.per_rule.begin(), std::plus<>{});
}

}  // namespace

QueueWindow total(const std::vector<QueueWindow>& windows) {
  QueueWindow sum;
  std::map<DeviceRef, OriginCount> origins;
  for (const QueueWindow& window : windows) {
    sum.duration += window.duration;
    add(sum.tx, window.tx);
    add(sum.rx, window.rx);
    sum.sample.sample_rate = window.sample.sample_rate;
    sum.sample.sampled += window.sample.sampled;
    sum.sample.flows_overflow += window.sample.flows_overflow;
    std::ranges::transform(window.sample.chosen_by, sum.sample.chosen_by, sum.sample.chosen_by.begin(), std::plus<>{});
    add(sum.sample.cpus, window.sample.cpus);
    for (const OriginCount& origin : window.sample.origins) {
      OriginCount& row = origins[origin.origin];
      row.origin = origin.origin;
      add(row, origin);
    }
    // Flows of different windows cannot be matched by weight alone: the longest list stands for all.
    if (window.sample.flows.size() > sum.sample.flows.size()) sum.sample.flows = window.sample.flows;
  }
  for (auto& [ref, origin] : origins) sum.sample.origins.push_back(std::move(origin));
  std::ranges::sort(sum.sample.origins, std::ranges::greater{}, &OriginCount::sampled);
  return sum;
}

}  // namespace weir::model
