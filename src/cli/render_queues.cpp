#include "cli/render_queues.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "base/text.h"
#include "base/units.h"

namespace weir::cli {

namespace {

/// More rows than this and the idle queues are folded into one line.
constexpr std::size_t kMostRows = 16;

double share_pct(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

std::uint64_t packet_sum(const std::vector<model::QueueCount>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const model::QueueCount& count) { return sum + count.packets; });
}

/// The rows of one direction as `row` writes them; idle queues of a device with many are folded into one line.
template <class Row>
std::string queue_rows(const char* direction, const std::vector<model::QueueCount>& counts, Row&& row) {
  const std::uint64_t packets = packet_sum(counts);
  if (packets == 0) return fmt::format("  {}  no packets\n", direction);
  const bool fold = counts.size() > kMostRows;
  std::string text;
  std::size_t idle = 0;
  for (const model::QueueCount& count : counts) {
    if (fold && count.packets == 0) {
      ++idle;
      continue;
    }
    text += fmt::format("  {} {:<4} {}\n", direction, count.queue, row(count, share_pct(count.packets, packets)));
  }
  if (idle > 0) text += fmt::format("  {}      {} queues had no packet\n", direction, idle);
  return text;
}

std::string totals_row(const model::QueueCount& count, double share) {
  return fmt::format("{:>12} {:>6.1f} % {:>14} {:>14}", count.packets, share, count.bytes, count.wire_packets);
}

std::string bar(double share_pct) {
  constexpr double kFullBar = 40;
  return std::string(static_cast<std::size_t>(std::lround(share_pct / 100 * kFullBar)), '#');
}

std::string chosen_by(const model::TxSample& sample) {
  if (sample.sampled == 0) return {};
  std::vector<std::pair<std::uint64_t, const char*>> rules;
  for (std::size_t rule = 0; rule < model::kQueueRuleCount; ++rule) {
    if (sample.chosen_by[rule] > 0) {
      rules.emplace_back(sample.chosen_by[rule], to_string(static_cast<model::QueueRule>(rule)));
    }
  }
  std::ranges::sort(rules, std::greater{});
  std::string text = "  queue chosen by ";
  for (std::size_t i = 0; i < rules.size(); ++i) {
    text += fmt::format("{}{} {:.1f} %", i > 0 ? ", " : "", rules[i].second, share_pct(rules[i].first, sample.sampled));
  }
  return text + fmt::format("  (1 packet in {} examined: {})\n", sample.sample_rate, sample.sampled);
}

std::string came_from(const model::TxSample& sample) {
  if (sample.origins.empty()) return {};
  std::string text = "  packets come from ";
  const std::size_t shown = std::min<std::size_t>(sample.origins.size(), 5);
  for (std::size_t i = 0; i < shown; ++i) {
    const model::OriginCount& origin = sample.origins[i];
    text += fmt::format("{}{} {:.1f} %", i > 0 ? ", " : "", origin.origin.name,
                        share_pct(origin.sampled(), sample.sampled));
  }
  if (sample.origins.size() > shown) text += fmt::format(" and {} more", sample.origins.size() - shown);
  return text + "\n";
}

std::string where(const model::PathPoint& point) {
  if (point.hook.empty()) return "before the first hook that could look";
  if (point.hook == "pick") return fmt::format("the queue choice of {}", to_string(point.device));
  return fmt::format("{} on {}", point.hook, to_string(point.device));
}

std::uint32_t queues_in_use(const model::HostConfig& config, const model::DeviceObservation& seen) {
  const model::DeviceConfig* device = config.find(seen.device);
  return device == nullptr ? 0 : device->real_tx_queues;
}

std::string heading(std::uint32_t in_use, const model::DeviceObservation& seen, const model::QueueWindow& sum) {
  return fmt::format("{}  {} tx queue{} in use, {:.2f} effective, {} packets in {}{}\n", to_string(seen.device), in_use,
                     in_use == 1 ? "" : "s", model::effective_queues(sum.tx),
                     format_count(static_cast<double>(sum.tx_packets())), format_duration(sum.duration),
                     seen.vanished ? "; the device went away meanwhile" : "");
}

}  // namespace

std::string render_device_queues(const model::HostConfig& config, const model::DeviceObservation& seen) {
  const model::QueueWindow sum = model::total(seen.windows);
  const std::uint32_t in_use = queues_in_use(config, seen);
  std::string text = heading(in_use, seen, sum);
  text += fmt::format("  {:<7} {:>12} {:>8} {:>14} {:>14}\n", "queue", "packets", "share", "bytes", "wire packets");
  text += queue_rows("tx", sum.tx, totals_row);
  text += queue_rows("rx", sum.rx, totals_row);
  if (in_use > 1) text += chosen_by(sum.sample);
  text += came_from(sum.sample);
  return text;
}

std::string render_device_rates(const model::HostConfig& config, const model::DeviceObservation& seen) {
  const model::QueueWindow sum = model::total(seen.windows);
  const double seconds = std::max(std::chrono::duration<double>(sum.duration).count(), 1e-9);
  const auto rates_row = [seconds](const model::QueueCount& count, double share) {
    return fmt::format("{:>10} {:>14} {:>6.1f} %  {}", format_count(static_cast<double>(count.packets) / seconds),
                       format_bit_rate(8 * static_cast<double>(count.bytes) / seconds), share, bar(share));
  };
  const std::uint32_t in_use = queues_in_use(config, seen);
  std::string text = heading(in_use, seen, sum);
  text += fmt::format("  {:<7} {:>10} {:>14} {:>8}\n", "queue", "packets/s", "rate", "share");
  text += queue_rows("tx", sum.tx, rates_row);
  text += queue_rows("rx", sum.rx, rates_row);
  if (in_use > 1) text += chosen_by(sum.sample);
  text += came_from(sum.sample);
  return text;
}

std::string render_mapping_changes(const model::DeviceObservation& seen) {
  std::uint64_t packets = 0;
  for (const model::MappingChange& change : seen.changes) packets += change.packets;
  if (packets == 0) return fmt::format("{}  no packet passed while its path was followed\n", to_string(seen.device));
  std::string text =
      fmt::format("{}  where skb->queue_mapping of {} packets was set (0: unset, k+1: recorded queue k)\n",
                  to_string(seen.device), packets);
  for (const model::MappingChange& change : seen.changes) {
    const std::string origin =
        change.origin.ifindex.value == 0 ? "local sockets" : "in by " + printable(change.origin.name);
    text += fmt::format("  {:>5.1f} %  {}: ", share_pct(change.packets, packets), origin);
    if (change.to.hook.empty()) {
      text += "unset all the way\n";
    } else if (change.to.hook == "pick") {
      text +=
          fmt::format("{} -> {} by {}, carried on over the veth pair\n", change.before, change.after, where(change.to));
    } else {
      text += fmt::format("{} -> {} between {} and {}\n", change.before, change.after, where(change.from),
                          where(change.to));
    }
  }
  if (!seen.before_pick_seen) {
    text += "  this kernel has neither tcx (6.6) nor fentry: what happens behind the last hook above is not seen\n";
  }
  return text;
}

}  // namespace weir::cli
