// The ways that packets take, counted: a tree of places, and the distinct paths through it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "model/entity.h"
#include "model/trace.h"

namespace weir::model {

/// A hook on a device, reached by one way only: where ways differ before, there are several stops at the same hook.
struct PathStop {
  std::string hook;
  DeviceRef device;
  std::string drop_reason;            ///< of a drop, else empty
  std::optional<std::size_t> before;  ///< index of the stop before; none: the way begins here
  std::vector<std::size_t> after;     ///< most packets first
  std::uint64_t packets = 0;          ///< that came here by this way
  std::uint64_t ended = 0;            ///< of those, freed here
  std::uint64_t unseen = 0;           ///< of those, seen nowhere after this though nothing said that they were freed
  bool part = false;       ///< segments or fragments, which were cut from the packets that were at the stop before
  DurationHistogram time;  ///< since the stop before; empty where the way begins
};

/// One way from its beginning to its end, and how many packets went it.
struct PacketPath {
  std::vector<std::size_t> stops;  ///< indices of the tree's stops, in order
  std::uint64_t packets = 0;
  JourneyEnd end = JourneyEnd::unknown;
};

/// Where clones of packets were seen, whatever the way there.
struct CopyStop {
  std::string hook;
  DeviceRef device;
  std::string drop_reason;
  std::uint64_t packets = 0;
};

/// All ways that were taken.
struct PathTree {
  std::vector<PathStop> stops;
  std::vector<std::size_t> roots;  ///< most packets first
  std::vector<PacketPath> paths;   ///< most packets first
  std::vector<CopyStop> copies;    ///< most packets first
  std::uint64_t cut_stops = 0;     ///< stops that are left out because one before them is not known
  std::uint64_t cut_packets = 0;   ///< packets at the first of those
  std::uint64_t lost_steps = 0;    ///< times that a stop found no room to be counted, or its event was lost
  /// Packets on all ways.
  [[nodiscard]] std::uint64_t packets() const;
  /// Mean time from the beginning to the end of a path: the sum of its stretches' means.
  [[nodiscard]] std::uint64_t mean_ns(const PacketPath& path) const;
};

}  // namespace weir::model
