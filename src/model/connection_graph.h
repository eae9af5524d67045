// Inside model only: where flows of equal packets were seen, and which of these places are one connection.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model/connection.h"

namespace weir::model {

/// A device, VLAN and pair of ends. Of both directions the tuple that is less stands for it, and is direction 0.
struct Spot {
  DevicePlace place;
  std::uint16_t vlan = 0;
  FlowTuple tuple;
  std::vector<std::uint32_t> flows;  ///< none: the other end of a pair, on which nothing was accounted
  std::array<bool, 2> in{};          ///< by direction: packets come out of the device into the namespace
  std::array<bool, 2> out{};
  std::optional<std::uint16_t> zone;
  const DeviceLinks* links = nullptr;
  std::int32_t entry = -1;  ///< of its namespace's conntrack
  bool flipped = false;     ///< direction 0 is the reply's
};

/// Direction 0 or 1 of a tuple, and what stands for both.
std::pair<FlowTuple, bool> canonical(const FlowTuple& tuple);

/// Union-find whose members may have their directions the other way round (Galler and Fischer, with parities).
class DirectedSets {
 public:
  std::uint32_t add();
  /// The set that it belongs to, and whether its directions are those of the set reversed.
  std::pair<std::uint32_t, bool> find(std::uint32_t member);
  /// `reversed`: the two have opposite directions. False when they are one set already.
  bool unite(std::uint32_t a, std::uint32_t b, bool reversed);

 private:
  std::vector<std::uint32_t> parent_;
  std::vector<bool> reversed_;
};

/// A way of packets from one spot to the next, in a direction of `from`.
struct Hop {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint8_t direction = 0;
};

class ConnectionGraph {
 public:
  explicit ConnectionGraph(const JoinInput& input);

  [[nodiscard]] const std::vector<Spot>& spots() const { return spots_; }
  [[nodiscard]] const std::vector<Hop>& hops() const { return hops_; }
  /// Index into JoinInput::conntrack; nullptr when a packet's translation alone told of it.
  [[nodiscard]] std::shared_ptr<const ConntrackEntry> entry(const Spot& spot) const;
  [[nodiscard]] const ConntrackEntry* tracked(const Spot& spot) const;
  DirectedSets& sets() { return sets_; }

 private:
  enum class Kind : std::uint8_t { segment, routed };
  /// Where packets may go from any member to any other.
  struct DomainKey {
    Kind kind = Kind::routed;
    DevicePlace place;  ///< the segment's; of a namespace only ifindex of the VRF
    std::int32_t entry = -1;
    FlowTuple tuple;  ///< without an entry
    bool operator==(const DomainKey&) const = default;
  };
  struct DomainHash {
    std::size_t operator()(const DomainKey& key) const noexcept;
  };
  struct Member {
    std::uint32_t spot = 0;
    bool above = false;
  };
  using Domain = std::vector<Member>;
  struct Candidate {
    std::int32_t entry = -1;
    bool flipped = false;
  };

  struct SpotKey {
    DevicePlace place;
    std::uint16_t vlan = 0;
    FlowTuple tuple;
    bool operator==(const SpotKey&) const = default;
  };
  struct SpotHash {
    std::size_t operator()(const SpotKey& key) const noexcept;
  };
  struct TrackedKey {
    std::uint64_t netns = 0;
    FlowTuple tuple;
    bool operator==(const TrackedKey&) const = default;
  };
  struct TrackedHash {
    std::size_t operator()(const TrackedKey& key) const noexcept;
  };

  void place_flows(const JoinInput& input);
  std::uint32_t spot_at(const DevicePlace& place, std::uint16_t vlan, const FlowTuple& tuple, const Topology& topology);
  [[nodiscard]] std::optional<std::uint32_t> known_spot(const SpotKey& key) const;
  void link(const Topology& topology);
  void link_pair(std::uint32_t spot, std::uint32_t peer);
  void link_upper(std::uint32_t upper, std::uint32_t lower);
  void learn_entries(const JoinInput& input);
  void add_entry(const ConntrackEntry& entry, std::int32_t number);
  [[nodiscard]] Candidate choose(const Spot& spot) const;
  void gather_domains();
  void unite_domains();
  bool unite(const Domain& domain);
  void add_hops(const Domain& domain);
  [[nodiscard]] bool enters(const Member& member, int direction) const;
  [[nodiscard]] bool leaves(const Member& member, int direction) const;

  std::vector<Spot> spots_;
  std::unordered_map<SpotKey, std::uint32_t, SpotHash> by_place_;
  DirectedSets sets_;
  std::vector<Hop> hops_;
  std::vector<std::shared_ptr<const ConntrackEntry>> entries_;
  std::size_t from_table_ = 0;  ///< so many of `entries_`; the others are of packets
  std::unordered_map<TrackedKey, std::vector<Candidate>, TrackedHash> tracked_;
  std::unordered_map<DomainKey, Domain, DomainHash> domains_;
};

}  // namespace weir::model
