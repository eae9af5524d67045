#include "model/connection.h"

#include <algorithm>
#include <queue>
#include <set>
#include <string_view>
#include <unordered_set>

#include "model/connection_graph.h"
#include "model/sketch/distinct_sketch.h"

namespace weir::model {

namespace {

constexpr std::size_t kMostRemembered = 262'144;
constexpr std::uint64_t kRoundsRemembered = 60;
constexpr std::uint8_t kSyn = 2;

template <class T>
std::string_view raw_bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::uint64_t number_of(const DevicePlace& place, std::uint16_t vlan, const FlowTuple& tuple) {
  const std::array<std::uint64_t, 3> parts{place.netns, std::uint64_t{place.ifindex} << 16U | vlan, hash_of(tuple)};
  return spread_hash(raw_bytes(parts));
}

/// As above and of one direction of the device, for tables.
std::uint64_t number_of(const FlowKey& key) {
  const std::uint64_t place = std::uint64_t{key.ifindex} << 32U | std::uint64_t{key.vlan} << 1U |
                              static_cast<std::uint64_t>(key.direction == FlowDirection::rx);
  const std::uint64_t mixed = (hash_of(key.tuple) ^ place) * 0x9E3779B97F4A7C15U ^ key.netns;
  return (mixed ^ mixed >> 32U) * 0xC4CEB9FE1A85EC53U;
}

}  // namespace

/// Makes connections of one window's sets of spots.
class ConnectionMaker {
 public:
  ConnectionMaker(ConnectionJoiner& joiner, const JoinInput& input) : joiner_(joiner), input_(input), graph_(input) {}
  std::vector<Connection> make();

 private:
  using Memory = ConnectionJoiner::Memory;
  /// A set of spots; `reversed` of a spot says whether its directions are the set's turned round.
  struct Part {
    std::uint32_t spot = 0;
    bool reversed = false;
  };
  struct Group {
    std::vector<Part> parts;
    std::vector<Hop> hops;
    int forward = 0;  ///< the set's direction in which the initiator sends
  };

  void gather();
  [[nodiscard]] int direction_of_flow(const Part& part, const Flow& flow) const;
  [[nodiscard]] int find_forward(const Group& group) const;
  [[nodiscard]] std::vector<Part> order(const Group& group) const;
  Connection make(const Group& group);
  void set_ways(Connection& connection, const Group& group, const std::vector<Part>& path);
  void set_ends(Connection& connection, const Group& group, const std::vector<Part>& path) const;
  [[nodiscard]] std::optional<WorkloadRef> end_workload(const Group& group, const Part& part, bool sender) const;
  [[nodiscard]] FlowSide side(const Flow& flow) const { return input_.side ? input_.side(flow) : FlowSide::inside; }
  std::uint64_t identity(const std::vector<Part>& path, const FlowTuple& initiator);
  void remember();

  ConnectionJoiner& joiner_;
  const JoinInput& input_;
  ConnectionGraph graph_;
  std::vector<Group> groups_;
  std::vector<Memory*> memory_;  ///< of each flow
  std::unordered_set<std::uint64_t> taken_;
};

void ConnectionMaker::gather() {
  const std::vector<Spot>& spots = graph_.spots();
  std::vector<std::int32_t> group_of(spots.size(), -1);
  for (std::uint32_t i = 0; i < spots.size(); ++i) {
    const auto [root, reversed] = graph_.sets().find(i);
    if (group_of[root] < 0) {
      group_of[root] = static_cast<std::int32_t>(groups_.size());
      groups_.emplace_back();
    }
    groups_[static_cast<std::size_t>(group_of[root])].parts.push_back({i, reversed});
  }
  for (const Hop& hop : graph_.hops()) {
    const auto [root, reversed] = graph_.sets().find(hop.from);
    Hop turned = hop;
    turned.direction = static_cast<std::uint8_t>(hop.direction ^ static_cast<int>(reversed));
    groups_[static_cast<std::size_t>(group_of[root])].hops.push_back(turned);
  }
}

int ConnectionMaker::direction_of_flow(const Part& part, const Flow& flow) const {
  const bool back = flow.key.tuple != graph_.spots()[part.spot].tuple;
  return static_cast<int>(back) ^ static_cast<int>(part.reversed);
}

/// As conntrack has it; else who was first, where the beginning was seen; else who talks to the lower port.
int ConnectionMaker::find_forward(const Group& group) const {
  for (const Part& part : group.parts) {
    const Spot& spot = graph_.spots()[part.spot];
    if (spot.entry >= 0) return static_cast<int>(spot.flipped) ^ static_cast<int>(part.reversed);
  }
  std::array<std::chrono::nanoseconds, 2> first{std::chrono::nanoseconds::max(), std::chrono::nanoseconds::max()};
  std::uint8_t flags = 0;
  const FlowTuple* tuple = nullptr;
  int direction = 0;
  for (const Part& part : group.parts) {
    for (const std::uint32_t number : graph_.spots()[part.spot].flows) {
      const Flow& flow = input_.flows[number];
      tuple = &flow.key.tuple;
      direction = direction_of_flow(part, flow);
      flags |= flow.tcp_flags;
      auto& earliest = first[static_cast<std::size_t>(direction)];
      earliest = std::min(earliest, flow.first_seen);
    }
  }
  if (tuple == nullptr) return 0;
  const bool begun = tuple->protocol != 6 || (flags & kSyn) != 0;
  if (begun && first[0] != first[1]) return first[0] < first[1] ? 0 : 1;
  if (tuple->source_port == tuple->destination_port) return first[0] <= first[1] ? 0 : 1;
  return tuple->source_port > tuple->destination_port ? direction : 1 - direction;
}

/// The parts from the initiator to the responder: by the hops of that direction, else by those of the other one.
std::vector<ConnectionMaker::Part> ConnectionMaker::order(const Group& group) const {
  if (group.parts.size() == 1) return group.parts;
  const bool forward_hops =
      std::ranges::any_of(group.hops, [&](const Hop& hop) { return hop.direction == group.forward; });
  const int direction = forward_hops ? group.forward : 1 - group.forward;
  std::unordered_map<std::uint32_t, std::size_t> index;
  for (std::size_t i = 0; i < group.parts.size(); ++i) index[group.parts[i].spot] = i;
  std::set<std::pair<std::size_t, std::size_t>> edges;
  for (const Hop& hop : group.hops) {
    if (hop.direction == direction) edges.emplace(index.at(hop.from), index.at(hop.to));
  }
  std::vector<std::size_t> before(group.parts.size(), 0);
  for (const auto& [from, to] : edges) ++before[to];
  const auto rank = [&](std::size_t i) { return std::pair(before[i], graph_.spots()[group.parts[i].spot].place); };
  // Kahn's order; where packets go round in a circle, the one with the fewest before it breaks that.
  std::set<std::size_t> left;
  for (std::size_t i = 0; i < group.parts.size(); ++i) left.insert(i);
  std::vector<Part> path;
  while (!left.empty()) {
    const std::size_t next = *std::ranges::min_element(left, {}, rank);
    left.erase(next);
    path.push_back(group.parts[next]);
    for (auto edge = edges.lower_bound({next, 0}); edge != edges.end() && edge->first == next; ++edge) {
      if (before[edge->second] > 0) --before[edge->second];
    }
  }
  if (!forward_hops) std::ranges::reverse(path);
  return path;
}

void ConnectionMaker::remember() {
  memory_.reserve(input_.flows.size());
  joiner_.memory_.reserve(input_.flows.size());
  for (const Flow& flow : input_.flows) memory_.push_back(&joiner_.memory_[number_of(flow.key)]);
}

/// The id that its flows had longest; else one of where it begins, which is the same whenever it is looked at.
std::uint64_t ConnectionMaker::identity(const std::vector<Part>& path, const FlowTuple& initiator) {
  const Memory* oldest = nullptr;
  const Spot* begin = nullptr;
  for (const Part& part : path) {
    const Spot& spot = graph_.spots()[part.spot];
    if (begin == nullptr && !spot.flows.empty()) begin = &spot;
    for (const std::uint32_t number : spot.flows) {
      const Memory* memory = memory_[number];
      if (memory->round == 0 || taken_.contains(memory->id)) continue;
      if (oldest == nullptr || memory->since < oldest->since) oldest = memory;
    }
  }
  std::uint64_t id = oldest != nullptr ? oldest->id : number_of(begin->place, begin->vlan, initiator);
  while (!taken_.insert(id).second) ++id;
  return id;
}

void ConnectionMaker::set_ways(Connection& connection, const Group& group, const std::vector<Part>& path) {
  struct Offer {
    AccountOffer offer;
    Flow* flow = nullptr;
  };
  std::array<std::optional<Offer>, 2> best;
  bool first = true;
  for (std::size_t hop = 0; hop < path.size(); ++hop) {
    for (const std::uint32_t number : graph_.spots()[path[hop].spot].flows) {
      Flow& flow = input_.flows[number];
      const bool to_responder = direction_of_flow(path[hop], flow) == group.forward;
      const Offer offer{{.side = side(flow),
                         .counted_before = memory_[number]->counted,
                         .hops = to_responder ? hop : path.size() - hop,
                         .bytes = flow.window.bytes,
                         .ifindex = flow.key.ifindex},
                        &flow};
      auto& nearest = best[to_responder ? 0 : 1];
      if (!nearest || nearness(offer.offer) < nearness(nearest->offer)) nearest = offer;
      flow.connection = FlowConnection{.id = connection.id,
                                       .counted = false,
                                       .sent = to_responder ? connection.initiator : connection.initiator.reversed()};
      flow.conntrack = graph_.entry(graph_.spots()[path[hop].spot]);
      connection.first_seen = first ? flow.first_seen : std::min(connection.first_seen, flow.first_seen);
      connection.last_seen = std::max(connection.last_seen, flow.last_seen);
      connection.tcp_flags |= flow.tcp_flags;
      first = false;
    }
  }
  // What the socket says stands where it sends, which need not be where the bytes count.
  for (const Part& part : path) {
    for (const std::uint32_t number : graph_.spots()[part.spot].flows) {
      const Flow& flow = input_.flows[number];
      const bool to_responder = direction_of_flow(part, flow) == group.forward;
      ConnectionWay& way = to_responder ? connection.to_responder : connection.to_initiator;
      if (flow.tcp && (!way.tcp || flow.tcp->retransmits > way.tcp->retransmits)) way.tcp = flow.tcp;
    }
  }
  bool all_mice = true;
  bool elephant = false;
  for (std::size_t i = 0; i < best.size(); ++i) {
    if (!best[i]) continue;
    Flow& flow = *best[i]->flow;
    flow.connection->counted = true;
    ConnectionWay& way = i == 0 ? connection.to_responder : connection.to_initiator;
    way.window = flow.window;
    way.total = flow.total;
    way.rate_bps = flow.rate_bps;
    way.counted_at = flow.device;
    way.counted_direction = flow.key.direction;
    elephant = elephant || flow.flow_class == FlowClass::elephant;
    all_mice = all_mice && flow.flow_class == FlowClass::mouse;
  }
  connection.flow_class = elephant ? FlowClass::elephant : all_mice ? FlowClass::mouse : FlowClass::medium;
}

/// Whose the end of a path is: who lives where the packets begin or end, or who is behind the last device. A device
/// that packets come in by from somewhere else has nobody at its end.
std::optional<WorkloadRef> ConnectionMaker::end_workload(const Group& group, const Part& part, bool sender) const {
  for (const std::uint32_t number : graph_.spots()[part.spot].flows) {
    const Flow& flow = input_.flows[number];
    if (!flow.workload) continue;
    const bool to_responder = direction_of_flow(part, flow) == group.forward;
    const bool sends = flow.key.direction == FlowDirection::tx;
    // At the initiator's end its packets go out, and at the responder's they come in; from a port seen otherwise.
    const bool own = sends == (to_responder == sender);
    const FlowSide where = side(flow);
    if (where == FlowSide::port ? !own : own) return flow.workload;
  }
  return std::nullopt;
}

void ConnectionMaker::set_ends(Connection& connection, const Group& group, const std::vector<Part>& path) const {
  const auto has_flows = [&](const Part& part) { return !graph_.spots()[part.spot].flows.empty(); };
  const auto first = std::ranges::find_if(path, has_flows);
  const auto last = std::find_if(path.rbegin(), path.rend(), has_flows);
  const auto forward_tuple = [&](const Part& part) {
    const FlowTuple& tuple = graph_.spots()[part.spot].tuple;
    return static_cast<int>(part.reversed) == group.forward ? tuple : tuple.reversed();
  };
  connection.initiator = forward_tuple(*first);
  connection.responder = forward_tuple(*last);
  connection.initiator_workload = end_workload(group, *first, true);
  connection.responder_workload = end_workload(group, *last, false);
  for (const Part& part : path) {
    const Spot& spot = graph_.spots()[part.spot];
    if (spot.flows.empty()) continue;
    connection.path.push_back(input_.flows[spot.flows.front()].device);
    if (!connection.conntrack) connection.conntrack = graph_.entry(spot);
  }
}

Connection ConnectionMaker::make(const Group& group) {
  const std::vector<Part> path = order(group);
  Connection connection;
  set_ends(connection, group, path);
  connection.id = identity(path, connection.initiator);
  set_ways(connection, group, path);
  for (const Part& part : path) {
    for (const std::uint32_t number : graph_.spots()[part.spot].flows) {
      Memory& memory = *memory_[number];
      if (memory.round == 0 || memory.id != connection.id) memory.since = joiner_.round_;
      memory.id = connection.id;
      memory.round = joiner_.round_;
      memory.counted = input_.flows[number].connection->counted;
    }
  }
  return connection;
}

std::vector<Connection> ConnectionMaker::make() {
  gather();
  remember();
  std::vector<Connection> connections;
  connections.reserve(groups_.size());
  for (Group& group : groups_) {
    group.forward = find_forward(group);
    connections.push_back(make(group));
  }
  return connections;
}

std::vector<Connection> ConnectionJoiner::join(const JoinInput& input) {
  ++round_;
  std::vector<Connection> connections = ConnectionMaker(*this, input).make();
  sort_heaviest_first(connections);
  const std::uint64_t kept = memory_.size() > kMostRemembered ? 0 : kRoundsRemembered;
  std::erase_if(memory_, [&](const auto& entry) { return entry.second.round + kept < round_; });
  return connections;
}

void sort_heaviest_first(std::vector<Connection>& connections) {
  std::ranges::sort(connections, [](const Connection& a, const Connection& b) {
    return a.bytes() != b.bytes() ? a.bytes() > b.bytes() : a.id < b.id;
  });
}

}  // namespace weir::model
