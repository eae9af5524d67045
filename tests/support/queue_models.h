// Observations of hosts that exist only here: devices, flows placed on queues by a rule, windows and samples.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "model/queues.h"

namespace weir::test {

using model::QueueRule;

inline model::DeviceRef dev(std::uint64_t netns, const std::string& netns_name, std::uint32_t index,
                            const std::string& name) {
  return {{netns, netns_name}, IfIndex{index}, name};
}

/// Packets of one origin: how many flows with which weights, and which rule puts them where.
struct Stream {
  model::DeviceRef origin;
  std::vector<double> flows;                     ///< packets of each flow in one window
  std::vector<std::optional<std::uint32_t>> on;  ///< queue of each flow; nothing: hashed
  std::vector<QueueRule> rules;                  ///< of the flows with a queue given
};

inline std::vector<double> equal_flows(std::size_t count, double packets) {
  return std::vector<double>(count, packets / static_cast<double>(count));
}

/// All flows of a stream on one queue by one rule.
inline Stream pinned(const model::DeviceRef& origin, std::vector<double> flows, std::uint32_t queue, QueueRule rule) {
  const std::size_t count = flows.size();
  return {origin, std::move(flows), std::vector<std::optional<std::uint32_t>>(count, queue),
          std::vector<QueueRule>(count, rule)};
}

inline Stream hashed(const model::DeviceRef& origin, std::vector<double> flows) {
  const std::size_t count = flows.size();
  return {origin, std::move(flows), std::vector<std::optional<std::uint32_t>>(count),
          std::vector<QueueRule>(count, QueueRule::hash)};
}

/// What a veth of `pod_queues` queues sends into a device of `queues`: the pod's queue 0 arrives unrecorded and is
/// hashed again with the same hash, queue k arrives as recorded receive queue k-1.
inline Stream through_veth(const model::DeviceRef& origin, std::vector<double> flows, std::uint32_t pod_queues,
                           std::uint32_t queues, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Stream stream{origin, std::move(flows), {}, {}};
  for (std::size_t flow = 0; flow < stream.flows.size(); ++flow) {
    const std::uint64_t hash = random() & 0xFFFFFFFFU;
    const auto in_pod = static_cast<std::uint32_t>(hash * pod_queues >> 32);
    stream.on.emplace_back(in_pod == 0 ? static_cast<std::uint32_t>(hash * queues >> 32) : (in_pod - 1) % queues);
    stream.rules.push_back(in_pod == 0 ? QueueRule::hash : QueueRule::recorded);
  }
  return stream;
}

/// One window. `cpus`: packets by CPU, as shares; empty: all on CPU 0.
inline model::QueueWindow window(std::uint32_t queues, const std::vector<Stream>& streams, std::uint64_t seed,
                                 std::uint32_t sample_rate = 4, const std::vector<double>& cpus = {}) {
  std::mt19937_64 random(seed);
  model::QueueWindow result;
  result.duration = std::chrono::seconds(1);
  for (std::uint32_t queue = 0; queue < queues; ++queue) result.tx.push_back({.queue = queue});
  result.sample.sample_rate = sample_rate;
  for (const Stream& stream : streams) {
    model::OriginCount origin{stream.origin, std::vector<std::uint64_t>(queues), {}};
    for (std::size_t flow = 0; flow < stream.flows.size(); ++flow) {
      const std::uint32_t by_hash = static_cast<std::uint32_t>(random() % queues);
      const std::uint32_t queue = stream.on[flow].value_or(by_hash);
      const QueueRule rule = stream.on[flow] ? stream.rules[flow] : QueueRule::hash;
      const auto packets = static_cast<std::uint64_t>(stream.flows[flow]);
      result.tx[queue].packets += packets;
      result.tx[queue].bytes += packets * 100;
      result.tx[queue].wire_packets += packets;
      std::binomial_distribution<std::uint64_t> draw(packets, 1.0 / sample_rate);
      const std::uint64_t sampled = draw(random);
      if (sampled == 0) continue;
      result.sample.sampled += sampled;
      result.sample.chosen_by[static_cast<std::size_t>(rule)] += sampled;
      result.sample.flows.push_back(sampled);
      origin.per_queue[queue] += sampled;
      origin.per_rule[static_cast<std::size_t>(rule)] += sampled;
    }
    result.sample.origins.push_back(origin);
  }
  std::ranges::sort(result.sample.flows, std::ranges::greater{});
  std::ranges::sort(result.sample.origins, std::ranges::greater{}, &model::OriginCount::sampled);
  const std::vector<double> shares = cpus.empty() ? std::vector<double>{1.0} : cpus;
  for (const double share : shares) {
    result.sample.cpus.push_back(static_cast<std::uint64_t>(share * static_cast<double>(result.sample.sampled)));
  }
  return result;
}

/// Three windows of the same flows on the same queues (one seed, as hashing is stable).
inline model::DeviceObservation observed(const model::DeviceRef& device, std::uint32_t queues,
                                         const std::vector<Stream>& streams, std::uint64_t seed = 1,
                                         std::uint32_t sample_rate = 4, const std::vector<double>& cpus = {}) {
  model::DeviceObservation result;
  result.device = device;
  result.before_pick_seen = true;
  for (int i = 0; i < 3; ++i) result.windows.push_back(window(queues, streams, seed, sample_rate, cpus));
  return result;
}

inline model::DeviceConfig veth(const model::DeviceRef& ref, std::uint32_t queues,
                                std::optional<model::DeviceRef> peer = std::nullopt) {
  model::DeviceConfig config;
  config.ref = ref;
  config.link_kind = "veth";
  config.driver = "veth";
  config.up = true;
  config.peer = std::move(peer);
  config.num_tx_queues = config.real_tx_queues = queues;
  config.num_rx_queues = config.real_rx_queues = queues;
  return config;
}

inline model::DeviceConfig tap(const model::DeviceRef& ref, std::uint32_t queues = 1) {
  model::DeviceConfig config = veth(ref, queues);
  config.link_kind = config.driver = "tun";
  config.qdiscs = {{"fq_codel", 0x80010000, 0xFFFFFFFF}};
  return config;
}

inline model::DeviceConfig hardware(const model::DeviceRef& ref, const std::string& driver, std::uint32_t queues) {
  model::DeviceConfig config = veth(ref, queues);
  config.link_kind.clear();
  config.driver = driver;
  config.bus_info = "0000:00:05.0";
  config.max_combined_channels = config.combined_channels = queues;
  config.qdiscs = {{"mq", 0x80010000, 0xFFFFFFFF}};
  return config;
}

/// One CPU to one queue.
inline void map_xps_one_to_one(model::DeviceConfig& config, std::uint32_t cpus) {
  config.xps_cpus.assign(config.real_tx_queues, {});
  for (std::uint32_t cpu = 0; cpu < cpus; ++cpu) config.xps_cpus[cpu % config.real_tx_queues].push_back(cpu);
}

/// The lab's host: a pod behind pv0, a tap, and nic0 whose peer w0 is the wire.
struct LabHost {
  model::DeviceRef eth0 = dev(2, "weir-pod", 2, "eth0");
  model::DeviceRef pv0 = dev(1, "weir-host", 2, "pv0");
  model::DeviceRef tap0 = dev(1, "weir-host", 4, "tap0");
  model::DeviceRef nic0 = dev(1, "weir-host", 3, "nic0");
  model::DeviceRef w0 = dev(3, "weir-wire", 2, "w0");
  model::DeviceRef local = dev(1, "weir-host", 0, "");
  model::HostObservation host;

  explicit LabHost(std::uint32_t queues = 4, std::uint32_t pod_queues = 1) {
    host.start = std::chrono::sys_time<std::chrono::nanoseconds>(std::chrono::seconds(1795255200));
    host.duration = std::chrono::seconds(10);
    host.accounting.packets_seen = 184233;
    host.config.hostname = "h1";
    host.config.kernel = "6.18.44";
    host.config.online_cpus = 2;
    host.config.devices = {veth(eth0, pod_queues, pv0), veth(pv0, pod_queues, eth0), tap(tap0), veth(nic0, queues, w0),
                           veth(w0, queues, nic0)};
  }
  model::DeviceConfig& config(const model::DeviceRef& ref) {
    for (model::DeviceConfig& config : host.config.devices) {
      if (config.ref == ref) return config;
    }
    return host.config.devices.emplace_back();
  }
};

}  // namespace weir::test
