#include "observe/queues/queue_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace weir::observe {

static_assert(WEIR_RULE_COUNT == model::kQueueRuleCount);
static_assert(WEIR_RULE_HASH == static_cast<int>(model::QueueRule::hash));
static_assert(WEIR_RULE_XPS == static_cast<int>(model::QueueRule::xps));
static_assert(WEIR_RULE_RECORDED == static_cast<int>(model::QueueRule::recorded));
static_assert(WEIR_RULE_SOCKET == static_cast<int>(model::QueueRule::socket));
static_assert(WEIR_RULE_DRIVER == static_cast<int>(model::QueueRule::driver));
static_assert(WEIR_RULE_SINGLE == static_cast<int>(model::QueueRule::single));
static_assert(WEIR_RULE_UNEXPLAINED == static_cast<int>(model::QueueRule::unexplained));

namespace {

void add_count(const weir_queue_key& key, const weir_queue_count& count, QueueTotals& totals) {
  DeviceTotals& device = totals.devices[{key.netns, key.ifindex}];
  model::QueueCount& row = (key.direction == WEIR_TX ? device.tx : device.rx)[key.queue];
  row.queue = key.queue;
  row.packets += count.packets;
  row.bytes += count.bytes;
  row.wire_packets += count.wire_packets;
  totals.accounting.packets_seen += count.packets;
}

Result<void> read_counts(const DataPlane& data_plane, QueueTotals& totals) {
  auto rows = data_plane.queue_rows().for_each([&](std::uint32_t, std::span<const weir_queue_row> by_cpu) {
    for (const weir_queue_row& row : by_cpu) {
      if (row.place == 0 || row.netns == 0) continue;  // free, or claimed at this moment
      const weir_queue_key key{.netns = row.netns,
                               .ifindex = static_cast<std::uint32_t>(row.place),
                               .queue = static_cast<std::uint16_t>(row.place >> 32U),
                               .direction = static_cast<std::uint8_t>(row.place >> 48U),
                               .pad = 0};
      add_count(key, row.count, totals);
    }
  });
  if (!rows) return rows;
  return data_plane.queue_counts().for_each([&](const weir_queue_key& key, std::span<const weir_queue_count> by_cpu) {
    for (const weir_queue_count& count : by_cpu) add_count(key, count, totals);
  });
}

Result<void> read_samples(const DataPlane& data_plane, QueueTotals& totals) {
  auto choices = data_plane.queue_choices().for_each([&](const weir_choice_key& key, std::uint64_t count) {
    totals.devices[{key.netns, key.ifindex}].choices[{key.origin_ifindex, key.queue, key.rule}] += count;
  });
  if (!choices) return choices;
  return data_plane.queue_flows().for_each([&](const weir_flow_key& key, std::uint64_t count) {
    DeviceTotals& device = totals.devices[{key.netns, key.ifindex}];
    (key.kind == WEIR_FLOW_HASH ? device.flows : device.cpus)[key.value] += count;
  });
}

Result<std::uint64_t> stat_sum(const DataPlane& data_plane, weir_data_stat stat) {
  const auto values = data_plane.stats().lookup(stat);
  if (!values) return std::unexpected(values.error());
  std::uint64_t sum = 0;
  for (const std::uint64_t value : *values) sum += value;
  return sum;
}

/// `after - before` for each key; keys that did not grow are left out.
template <class Key>
std::map<Key, std::uint64_t> grown(const std::map<Key, std::uint64_t>& before,
                                   const std::map<Key, std::uint64_t>& after) {
  std::map<Key, std::uint64_t> delta;
  for (const auto& [key, count] : after) {
    const auto old = before.find(key);
    const std::uint64_t start = old == before.end() ? 0 : old->second;
    if (count > start) delta[key] = count - start;
  }
  return delta;
}

std::vector<model::QueueCount> count_rows(const std::map<std::uint32_t, model::QueueCount>& before,
                                          const std::map<std::uint32_t, model::QueueCount>& after,
                                          std::uint32_t queues_in_use) {
  std::map<std::uint32_t, model::QueueCount> rows;
  for (std::uint32_t queue = 0; queue < queues_in_use; ++queue) rows[queue] = {.queue = queue};
  for (const auto& [queue, count] : after) {
    const auto old = before.find(queue);
    const model::QueueCount start = old == before.end() ? model::QueueCount{} : old->second;
    if (count.packets == start.packets && queue >= queues_in_use) continue;
    rows[queue] = {.queue = queue,
                   .packets = count.packets - start.packets,
                   .bytes = count.bytes - start.bytes,
                   .wire_packets = count.wire_packets - start.wire_packets};
  }
  std::vector<model::QueueCount> list;
  for (const auto& [queue, row] : rows) list.push_back(row);
  return list;
}

void bump(std::vector<std::uint64_t>& counters, std::size_t index, std::uint64_t by) {
  if (counters.size() <= index) counters.resize(index + 1);
  counters[index] += by;
}

using Choices = std::map<DeviceTotals::Choice, std::uint64_t>;

/// Of the packets whose recorded queue and hash give the same: how many the recorded queue placed, per origin. The
/// packets where the two differ tell; without any, nothing was cleared.
std::map<std::uint32_t, double> recorded_part(const Choices& choices) {
  std::map<std::uint32_t, std::pair<double, double>> seen;  // recorded, cleared
  for (const auto& [choice, count] : choices) {
    if (choice.rule == WEIR_RULE_RECORDED) seen[choice.origin_ifindex].first += static_cast<double>(count);
    if (choice.rule == WEIR_RULE_CLEARED) seen[choice.origin_ifindex].second += static_cast<double>(count);
  }
  std::map<std::uint32_t, double> part;
  for (const auto& [origin, counts] : seen) part[origin] = counts.first / (counts.first + counts.second);
  return part;
}

/// The choices in the words of the model.
std::vector<std::tuple<DeviceTotals::Choice, model::QueueRule, std::uint64_t>> resolve(const Choices& choices) {
  const auto part = recorded_part(choices);
  std::vector<std::tuple<DeviceTotals::Choice, model::QueueRule, std::uint64_t>> resolved;
  for (const auto& [choice, count] : choices) {
    if (choice.rule < WEIR_RULE_COUNT) {
      resolved.emplace_back(choice, static_cast<model::QueueRule>(choice.rule), count);
      continue;
    }
    const auto known = part.find(choice.origin_ifindex);
    double recorded = choice.rule == WEIR_RULE_RECORDED_OR_CLEARED ? 1 : 0;
    if (known != part.end()) recorded *= known->second;
    const auto by_record = static_cast<std::uint64_t>(std::llround(recorded * static_cast<double>(count)));
    if (by_record > 0) resolved.emplace_back(choice, model::QueueRule::recorded, by_record);
    if (by_record < count) resolved.emplace_back(choice, model::QueueRule::hash, count - by_record);
  }
  return resolved;
}

void fill_choices(model::TxSample& sample, const DeviceKey& device, const Choices& choices,
                  const model::HostConfig& config) {
  std::map<std::uint32_t, model::OriginCount> origins;
  for (const auto& [choice, rule, count] : resolve(choices)) {
    sample.sampled += count;
    sample.chosen_by[static_cast<std::size_t>(rule)] += count;
    model::OriginCount& origin = origins[choice.origin_ifindex];
    bump(origin.per_queue, choice.queue, count);
    origin.per_rule[static_cast<std::size_t>(rule)] += count;
  }
  for (auto& [ifindex, origin] : origins) {
    origin.origin = name_device({device.netns, ifindex}, config);
    sample.origins.push_back(std::move(origin));
  }
  std::ranges::sort(sample.origins, std::ranges::greater{}, &model::OriginCount::sampled);
}

}  // namespace

Result<QueueTotals> read_queue_totals(const DataPlane& data_plane) {
  QueueTotals totals;
  if (auto counts = read_counts(data_plane, totals); !counts) return pass(std::move(counts));
  if (auto samples = read_samples(data_plane, totals); !samples) return pass(std::move(samples));
  const auto lost = stat_sum(data_plane, WEIR_STAT_LOST);
  if (!lost) return std::unexpected(lost.error());
  const auto sample_lost = stat_sum(data_plane, WEIR_STAT_SAMPLE_LOST);
  if (!sample_lost) return std::unexpected(sample_lost.error());
  const auto flow_lost = stat_sum(data_plane, WEIR_STAT_FLOW_LOST);
  if (!flow_lost) return std::unexpected(flow_lost.error());
  totals.accounting.packets_lost = *lost;
  totals.accounting.packets_seen += *lost;
  totals.accounting.events_lost = *sample_lost;
  totals.flow_lost = *flow_lost;
  return totals;
}

model::DeviceRef name_device(const DeviceKey& device, const model::HostConfig& config) {
  const model::DeviceRef bare{{device.netns, fmt::format("id:{}", device.netns)}, IfIndex{device.ifindex}, {}};
  if (const model::DeviceConfig* known = config.find(bare)) return known->ref;
  model::DeviceRef ref = bare;
  const auto neighbour = std::ranges::find(config.devices, device.netns,
                                           [](const model::DeviceConfig& other) { return other.ref.netns.id; });
  if (neighbour != config.devices.end()) ref.netns = neighbour->ref.netns;
  ref.name = device.ifindex == 0 ? "(local sockets)" : fmt::format("if{}", device.ifindex);
  return ref;
}

model::QueueWindow queue_window(const DeviceKey& device, const QueueTotals& before, const QueueTotals& after,
                                std::chrono::nanoseconds duration, std::uint32_t sample_rate,
                                const model::HostConfig& config) {
  static const DeviceTotals kNothing;
  const auto find = [&](const QueueTotals& totals) -> const DeviceTotals& {
    const auto found = totals.devices.find(device);
    return found == totals.devices.end() ? kNothing : found->second;
  };
  const DeviceTotals& start = find(before);
  const DeviceTotals& end = find(after);
  const model::DeviceConfig* known = config.find(name_device(device, config));

  model::QueueWindow window;
  window.duration = duration;
  window.tx = count_rows(start.tx, end.tx, known == nullptr ? 0 : known->real_tx_queues);
  window.rx = count_rows(start.rx, end.rx, known == nullptr ? 0 : known->real_rx_queues);
  window.sample.sample_rate = sample_rate;
  fill_choices(window.sample, device, grown(start.choices, end.choices), config);
  for (const auto& [flow, count] : grown(start.flows, end.flows)) window.sample.flows.push_back(count);
  std::ranges::sort(window.sample.flows, std::ranges::greater{});
  for (const auto& [cpu, count] : grown(start.cpus, end.cpus)) {
    if (cpu < 65536) bump(window.sample.cpus, cpu, count);  // a CPU number that cannot be was never set
  }
  window.sample.flows_overflow = after.flow_lost - before.flow_lost;
  return window;
}

}  // namespace weir::observe
