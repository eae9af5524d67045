// Learns footprints from windows of flows.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "model/footprint.h"
#include "model/footprint_classes.h"
#include "model/nearest_device.h"
#include "model/rolling_traffic.h"
#include "model/traffic_series.h"

namespace weir::model {

struct FootprintSettings {
  /// Keys beyond that push out the one that has been silent longest.
  std::size_t most_workloads = 4096;
  /// Connections that are remembered from one window to the next; what is beyond them has no size, duration, arrival
  /// or retransmits.
  std::size_t most_connections = 131072;
  /// Everything is inside without it.
  std::function<FlowSide(const Flow&)> side;
  /// Image or deployment of a workload, empty when it is not known; none without it.
  std::function<std::string(const WorkloadRef&)> image;
};

/// Fed one window after the other, of any length; nothing shorter than a window is seen.
///
/// Each byte of a workload counts once. Of the several devices that a connection crosses, the nearest to the workload
/// counts: one in its own namespace (`inside`), else one that leads to it (`port`), else any; of equally near ones the
/// one that counted before, else the one with the most bytes (nearest_device.h). A connection is known by the tuple
/// that its initiator sends, where its rows were joined (connections.h), else by conntrack's original one. A device
/// that is farther away than the one that counted before counts for nothing.
class FootprintBuilder {
 public:
  explicit FootprintBuilder(FootprintSettings settings = {});
  void feed(const FlowWindow& window);
  /// Of every workload and direction, by key.
  [[nodiscard]] std::vector<WorkloadFootprint> footprints() const;
  /// The classes alone, which is quick; nullptr for a key that was never seen or was pushed out. Stays as it is until
  /// the next feed().
  [[nodiscard]] const FootprintVerdict* verdict(const FootprintKey& key) const;
  [[nodiscard]] std::chrono::nanoseconds watched() const { return now_; }

 private:
  struct Series {
    FootprintKey key;
    RollingTraffic traffic;
    TrafficSeries latest;
    SteadyVerdict verdict;
    std::chrono::nanoseconds last_active{};
    std::uint64_t window_bytes = 0;  ///< of the window that is being fed
    std::uint64_t window_packets = 0;
    std::uint64_t window_flows = 0;
  };
  /// A connection of a workload in one direction, by the tuple that its sender knows.
  struct Connection {
    std::uint64_t series = 0;
    FlowTuple tuple;
    std::uint64_t hash = 0;  ///< of the tuple, made once: a connection is looked up several times a window
    bool operator==(const Connection&) const = default;
  };
  struct ConnectionHash {
    std::size_t operator()(const Connection& connection) const noexcept {
      return connection.hash ^ (connection.series * 0x9E3779B97F4A7C15ULL);
    }
  };
  struct Place {
    FlowSide side = FlowSide::passing;
    std::uint64_t netns = 0;
    std::uint32_t ifindex = 0;
    bool operator==(const Place&) const = default;
  };
  struct Memory {
    Place place;
    std::uint64_t bytes = 0;
    std::uint32_t retransmits = 0;
    std::chrono::nanoseconds first_seen{};
    std::chrono::nanoseconds last_seen{};
    std::chrono::nanoseconds last_fed{};
    bool closed = false;
  };
  struct Crossing {
    Place place;
    const Flow* flow = nullptr;
  };
  using Crossings = std::unordered_map<Connection, std::vector<Crossing>, ConnectionHash>;

  std::uint64_t series_of(const WorkloadRef& workload, FlowDirection direction);
  Crossings group(const FlowWindow& window);
  void account(const Connection& connection, const std::vector<Crossing>& crossings);
  void account_image(const FootprintKey& key, const ConnectionWindow& window);
  [[nodiscard]] Place nearest(const std::vector<Crossing>& crossings, const Memory* memory) const;
  void learn_addresses(const FlowWindow& window);
  void end_connections();
  void judge();
  void make_room();
  [[nodiscard]] FootprintFeatures features(const Series& series, std::size_t horizon) const;
  [[nodiscard]] const Series* opposite(const Series& series) const;

  FootprintSettings settings_;
  std::map<FootprintKey, std::uint64_t> numbers_;
  std::unordered_map<std::uint64_t, Series> series_;
  std::uint64_t next_number_ = 0;
  std::unordered_map<Connection, Memory, ConnectionHash> connections_;
  std::unordered_set<std::string> local_addresses_;
  std::chrono::nanoseconds now_{};  ///< watched time at the beginning of the window that is fed, then at its end
};

}  // namespace weir::model
