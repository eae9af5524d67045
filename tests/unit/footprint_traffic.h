// Synthetic workloads as windows of flows, from a seeded generator.
#pragma once

#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "model/footprint.h"

namespace weir::model::testing {

/// One component of a workload's traffic, in bits a second and bytes a packet.
struct Stream {
  double rate_bps = 0;
  std::uint32_t packet_bytes = 1500;
  double noise = 0.1;        ///< standard deviation of a second's rate, of its mean
  double period_s = 0;       ///< 0: all the time
  double on_s = 0;           ///< of each period
  std::uint32_t flows = 1;   ///< that share the rate
  bool short_lived = false;  ///< new connections each window
};

struct ScriptedWorkload {
  std::string name;
  FootprintClass expected = FootprintClass::idle;
  std::vector<Stream> streams;
  double gap_from_s = -1;  ///< silent, once, from here
  double gap_s = 0;
};

/// Makes the windows of one workload: what it sends.
class TrafficGenerator {
 public:
  TrafficGenerator(const ScriptedWorkload& workload, std::uint64_t seed) : workload_(&workload), random_(seed) {}

  /// The next window, `length` long.
  FlowWindow next(std::chrono::nanoseconds length = std::chrono::seconds(1)) {
    FlowWindow window;
    window.duration = length;
    const double from = std::chrono::duration<double>(now_).count();
    const double span = std::chrono::duration<double>(length).count();
    std::uint16_t port = 10000;
    for (const Stream& stream : workload_->streams) {
      const double bits = stream.rate_bps * on_seconds(stream, from, span) * jitter(stream);
      for (std::uint32_t flow = 0; flow < stream.flows; ++flow) {
        std::uint16_t source_port = port++;
        if (stream.short_lived) source_port = static_cast<std::uint16_t>(20000 + next_port_++ % 40000);
        add_flow(window, stream, source_port, bits / stream.flows / 8, span);
      }
    }
    now_ += length;
    return window;
  }

 private:
  double on_seconds(const Stream& stream, double from, double span) const {
    if (workload_->gap_from_s >= 0 && from >= workload_->gap_from_s &&
        from < workload_->gap_from_s + workload_->gap_s) {
      return 0;
    }
    if (stream.period_s <= 0) return span;
    constexpr int kSteps = 20;
    int on = 0;
    for (int step = 0; step < kSteps; ++step) {
      const double at = from + span * (step + 0.5) / kSteps;
      if (std::fmod(at, stream.period_s) < stream.on_s) ++on;
    }
    return span * on / kSteps;
  }
  double jitter(const Stream& stream) {
    return std::max(0.0, 1 + stream.noise * std::normal_distribution<double>()(random_));
  }
  void add_flow(FlowWindow& window, const Stream& stream, std::uint16_t port, double bytes, double span) {
    // A packet that is due only in part comes by chance.
    const double due = bytes / stream.packet_bytes;
    auto packets = static_cast<std::uint64_t>(due);
    if (std::uniform_real_distribution<double>()(random_) < due - static_cast<double>(packets)) ++packets;
    if (packets == 0) return;
    Flow flow;
    flow.key = {.netns = 7,
                .ifindex = 2,
                .direction = FlowDirection::tx,
                .vlan = 0,
                .tuple = {.source = {10, 0, 0, 1},
                          .destination = {10, 0, 1, static_cast<std::uint8_t>(port % 250)},
                          .source_port = port,
                          .destination_port = 80,
                          .ethertype = 0x0800,
                          .protocol = 6}};
    flow.window = {.bytes = packets * stream.packet_bytes, .packets = packets, .wire_packets = packets};
    flow.total = totals_[port] += flow.window;
    flow.rate_bps = static_cast<double>(flow.window.bytes) * 8 / span;
    const ElephantPolicy policy;
    const bool large = flow.total.bytes >= policy.bytes && flow.rate_bps >= policy.rate_bps;
    flow.flow_class = large ? FlowClass::elephant : FlowClass::medium;
    flow.first_seen = flow.last_seen = now_;
    flow.workload =
        WorkloadRef{.kind = "container", .name = workload_->name, .id = workload_->name, .pod = {}, .runtime = {}};
    window.flows.push_back(flow);
  }

  const ScriptedWorkload* workload_;
  std::mt19937_64 random_;
  std::chrono::nanoseconds now_{};
  std::map<std::uint16_t, FlowCount> totals_;
  std::uint32_t next_port_ = 0;
};

/// Forty workloads of every class, at several rates and amounts of noise.
inline std::vector<ScriptedWorkload> scripted_workloads() {
  using enum FootprintClass;
  std::vector<ScriptedWorkload> all;
  const auto add = [&](FootprintClass expected, std::string name, std::vector<Stream> streams) {
    all.push_back({std::move(name), expected, std::move(streams)});
  };
  for (const double rate : {2e6, 12e6, 50e6, 300e6, 9e9}) {
    for (const double noise : {0.02, 0.3}) {
      add(bulk, "bulk " + std::to_string(rate / 1e6) + " noise " + std::to_string(noise),
          {{.rate_bps = rate, .packet_bytes = 1448, .noise = noise}});
    }
  }
  add(bulk, "bulk over eight connections", {{.rate_bps = 400e6, .packet_bytes = 1514, .noise = 0.1, .flows = 8}});
  add(bulk, "bulk with a trickle of names", {{.rate_bps = 100e6}, {.rate_bps = 4e3, .packet_bytes = 90, .noise = 1}});
  for (const double rate : {20e3, 200e3, 2e6, 20e6}) {
    for (const std::uint32_t bytes : {80U, 200U, 600U}) {
      if (rate / 8 / bytes < 10) continue;
      add(latency_sensitive, "requests of " + std::to_string(bytes) + " at " + std::to_string(rate / 1e3) + "k",
          {{.rate_bps = rate, .packet_bytes = bytes, .noise = 0.2}});
    }
  }
  add(latency_sensitive, "requests over many new connections",
      {{.rate_bps = 1e6, .packet_bytes = 300, .noise = 0.3, .flows = 50, .short_lived = true}});
  for (const auto& [period, on] :
       {std::pair(5.0, 1.0), {10.0, 2.0}, {4.0, 1.0}, {8.0, 3.0}, {15.0, 2.0}, {20.0, 4.0}}) {
    const double rate = period > 8 ? 500e6 : 40e6;
    add(bursty, "bursts of " + std::to_string(on) + " s each " + std::to_string(period) + " s",
        {{.rate_bps = rate, .noise = 0.2, .period_s = period, .on_s = on}});
  }
  add(bursty, "bursts of small packets",
      {{.rate_bps = 3e6, .packet_bytes = 150, .noise = 0.2, .period_s = 6, .on_s = 1}});
  add(bursty, "bursts over a murmur",
      {{.rate_bps = 100e6, .noise = 0.2, .period_s = 5, .on_s = 1}, {.rate_bps = 100e3, .packet_bytes = 120}});
  for (const double rate : {5e6, 20e6, 60e6}) {
    add(mixed, "half and half at " + std::to_string(rate / 1e6),
        {{.rate_bps = rate, .packet_bytes = 1448}, {.rate_bps = rate / 7, .packet_bytes = 150, .noise = 0.2}});
  }
  add(mixed, "bulk beside many requests",
      {{.rate_bps = 30e6}, {.rate_bps = 4e6, .packet_bytes = 200, .noise = 0.3, .flows = 20}});
  add(idle, "keep-alives", {{.rate_bps = 500, .packet_bytes = 66, .noise = 1}});
  add(idle, "a ping a second", {{.rate_bps = 784, .packet_bytes = 98, .noise = 0}});
  add(idle, "names now and then", {{.rate_bps = 1000, .packet_bytes = 120, .noise = 2, .flows = 3}});
  add(idle, "a large packet now and then", {{.rate_bps = 6e3, .packet_bytes = 1400, .noise = 1}});
  return all;
}

}  // namespace weir::model::testing
