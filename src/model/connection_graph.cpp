#include "model/connection_graph.h"

#include <algorithm>
#include <unordered_set>

namespace weir::model {

namespace {

/// Hops are for the order of devices; a flooded segment has more of them than anybody looks at.
constexpr std::size_t kMostHopsFrom = 16;

std::uint64_t mix(std::uint64_t hash, std::uint64_t more) {
  hash = (hash ^ more) * 0x9E3779B97F4A7C15ULL;
  return hash ^ hash >> 29U;
}

bool is_ip(const FlowTuple& tuple) {
  return tuple.family() != 0;
}

/// Multicast, link-local, unspecified, broadcast to everybody: what routers leave where it is.
bool stays_on_link(const AddressBytes& address, int family) {
  if (family == 4) {
    return address[0] == 0 || address[0] >= 224 || (address[0] == 169 && address[1] == 254);
  }
  const bool unspecified = std::ranges::all_of(address, [](std::uint8_t byte) { return byte == 0; });
  return unspecified || address[0] == 0xFF || (address[0] == 0xFE && (address[1] & 0xC0U) == 0x80);
}

bool is_routed(const FlowTuple& tuple) {
  const int family = tuple.family();
  return family != 0 && !stays_on_link(tuple.source, family) && !stays_on_link(tuple.destination, family);
}

}  // namespace

std::pair<FlowTuple, bool> canonical(const FlowTuple& tuple) {
  const FlowTuple back = tuple.reversed();
  return back < tuple ? std::pair(back, true) : std::pair(tuple, false);
}

std::uint32_t DirectedSets::add() {
  parent_.push_back(static_cast<std::uint32_t>(parent_.size()));
  reversed_.push_back(false);
  return parent_.back();
}

std::pair<std::uint32_t, bool> DirectedSets::find(std::uint32_t member) {
  std::uint32_t root = member;
  bool reversed = false;
  while (parent_[root] != root) {
    reversed ^= reversed_[root];
    root = parent_[root];
  }
  // Everybody on the way points to the root from now on.
  bool left = reversed;
  while (parent_[member] != root && member != root) {
    const std::uint32_t next = parent_[member];
    const bool step = reversed_[member];
    parent_[member] = root;
    reversed_[member] = left;
    left ^= step;
    member = next;
  }
  return {root, reversed};
}

bool DirectedSets::unite(std::uint32_t a, std::uint32_t b, bool reversed) {
  const auto [root_a, reversed_a] = find(a);
  const auto [root_b, reversed_b] = find(b);
  if (root_a == root_b) return false;
  parent_[root_b] = root_a;
  reversed_[root_b] = reversed ^ reversed_a ^ reversed_b;
  return true;
}

std::size_t ConnectionGraph::SpotHash::operator()(const SpotKey& key) const noexcept {
  return mix(mix(hash_of(key.tuple), key.place.netns), std::uint64_t{key.place.ifindex} << 16U | key.vlan);
}

std::size_t ConnectionGraph::TrackedHash::operator()(const TrackedKey& key) const noexcept {
  return mix(hash_of(key.tuple), key.netns);
}

std::size_t ConnectionGraph::DomainHash::operator()(const DomainKey& key) const noexcept {
  const std::uint64_t place = mix(key.place.netns, key.place.ifindex) + static_cast<std::uint64_t>(key.kind);
  return mix(hash_of(key.tuple) + static_cast<std::uint64_t>(key.entry), place);
}

ConnectionGraph::ConnectionGraph(const JoinInput& input) {
  place_flows(input);
  link(input.topology);
  learn_entries(input);
  gather_domains();
  unite_domains();
}

std::uint32_t ConnectionGraph::spot_at(const DevicePlace& place, std::uint16_t vlan, const FlowTuple& tuple,
                                       const Topology& topology) {
  const auto [found, fresh] = by_place_.try_emplace({place, vlan, tuple}, 0);
  if (!fresh) return found->second;
  found->second = sets_.add();
  Spot& spot = spots_.emplace_back();
  spot.place = place;
  spot.vlan = vlan;
  spot.tuple = tuple;
  spot.links = topology.find(place);
  return found->second;
}

std::optional<std::uint32_t> ConnectionGraph::known_spot(const SpotKey& key) const {
  const auto found = by_place_.find(key);
  return found == by_place_.end() ? std::nullopt : std::optional(found->second);
}

void ConnectionGraph::place_flows(const JoinInput& input) {
  by_place_.reserve(input.flows.size());
  for (std::size_t i = 0; i < input.flows.size(); ++i) {
    const Flow& flow = input.flows[i];
    const auto [tuple, back] = canonical(flow.key.tuple);
    Spot& spot = spots_[spot_at({flow.key.netns, flow.key.ifindex}, flow.key.vlan, tuple, input.topology)];
    spot.flows.push_back(static_cast<std::uint32_t>(i));
    (flow.key.direction == FlowDirection::rx ? spot.in : spot.out)[back ? 1 : 0] = true;
    if (flow.nat) spot.zone = flow.nat->zone;
  }
}

/// What is the very same packet on two devices.
void ConnectionGraph::link(const Topology& topology) {
  const auto with_flows = static_cast<std::uint32_t>(spots_.size());
  for (std::uint32_t i = 0; i < with_flows; ++i) {
    const DeviceLinks* links = spots_[i].links;
    if (links == nullptr) continue;
    const std::uint16_t vlan = spots_[i].vlan;
    const FlowTuple tuple = spots_[i].tuple;
    if (links->peer) link_pair(i, spot_at(*links->peer, vlan, tuple, topology));
    // An inner tag of the VLAN device's own packets is not in the key of the device below.
    if (links->lower) {
      if (const auto lower = known_spot({*links->lower, links->vlan, tuple})) link_upper(i, *lower);
    }
    if (links->bundle) {
      if (const auto upper = known_spot({*links->bundle, vlan, tuple})) link_upper(*upper, i);
    }
  }
}

void ConnectionGraph::link_pair(std::uint32_t spot, std::uint32_t peer) {
  Spot& here = spots_[spot];
  Spot& there = spots_[peer];
  for (std::uint8_t direction = 0; direction < 2; ++direction) {
    const bool sent = here.out[direction] || there.in[direction];
    const bool received = here.in[direction] || there.out[direction];
    here.out[direction] = there.in[direction] = sent;
    here.in[direction] = there.out[direction] = received;
    if (sent) hops_.push_back({spot, peer, direction});
    if (received) hops_.push_back({peer, spot, direction});
  }
  sets_.unite(spot, peer, false);
}

void ConnectionGraph::link_upper(std::uint32_t upper, std::uint32_t lower) {
  for (std::uint8_t direction = 0; direction < 2; ++direction) {
    if (spots_[upper].out[direction]) hops_.push_back({upper, lower, direction});
    if (spots_[upper].in[direction]) hops_.push_back({lower, upper, direction});
  }
  sets_.unite(upper, lower, false);
}

void ConnectionGraph::add_entry(const ConntrackEntry& entry, std::int32_t number) {
  const auto [original, original_back] = canonical(entry.original);
  tracked_[{entry.netns, original}].push_back({number, original_back});
  if (!entry.rewrites()) return;
  const auto [far, far_back] = canonical(entry.reply.reversed());
  if (far != original) tracked_[{entry.netns, far}].push_back({number, far_back});
}

/// Those of the table; where it lacks one, what a packet has shown.
void ConnectionGraph::learn_entries(const JoinInput& input) {
  entries_.assign(input.conntrack.begin(), input.conntrack.end());
  from_table_ = entries_.size();
  for (std::size_t i = 0; i < from_table_; ++i) add_entry(*entries_[i], static_cast<std::int32_t>(i));
  for (const Flow& flow : input.flows) {
    if (!flow.nat || !flow.nat->rewrites()) continue;
    const FlowNat& nat = *flow.nat;
    const auto known = tracked_.find({flow.key.netns, canonical(nat.original).first});
    const auto same = [&](const Candidate& candidate) {
      const ConntrackEntry& entry = *entries_[static_cast<std::size_t>(candidate.entry)];
      return entry.original == nat.original && entry.reply == nat.reply && entry.zone == nat.zone;
    };
    if (known != tracked_.end() && std::ranges::any_of(known->second, same)) continue;
    auto seen = std::make_shared<ConntrackEntry>();
    seen->netns = flow.key.netns;
    seen->original = nat.original;
    seen->reply = nat.reply;
    seen->zone = nat.zone;
    seen->mark = nat.mark;
    entries_.push_back(seen);
    add_entry(*seen, static_cast<std::int32_t>(entries_.size() - 1));
  }
  for (Spot& spot : spots_) {
    const Candidate chosen = choose(spot);
    spot.entry = chosen.entry;
    spot.flipped = chosen.flipped;
  }
}

/// Of several entries with these ends: that of the zone, if it is known; the living one; the newest of ended ones.
/// Entries of different zones that nothing tells apart are none.
ConnectionGraph::Candidate ConnectionGraph::choose(const Spot& spot) const {
  if (!is_ip(spot.tuple)) return {};
  const auto found = tracked_.find({spot.place.netns, spot.tuple});
  if (found == tracked_.end()) return {};
  const auto entry_of = [this](const Candidate& candidate) -> const ConntrackEntry& {
    return *entries_[static_cast<std::size_t>(candidate.entry)];
  };
  Candidate best;
  for (const Candidate& candidate : found->second) {
    const ConntrackEntry& entry = entry_of(candidate);
    if (spot.zone && entry.zone != *spot.zone) continue;
    if (best.entry < 0) {
      best = candidate;
      continue;
    }
    if (entry.zone != entry_of(best).zone) return {};
    if (entry_of(best).ended || !entry.ended) best = candidate;
  }
  return best;
}

std::shared_ptr<const ConntrackEntry> ConnectionGraph::entry(const Spot& spot) const {
  const auto number = static_cast<std::size_t>(spot.entry);
  return spot.entry < 0 || number >= from_table_ ? nullptr : entries_[number];
}

const ConntrackEntry* ConnectionGraph::tracked(const Spot& spot) const {
  return spot.entry < 0 ? nullptr : entries_[static_cast<std::size_t>(spot.entry)].get();
}

void ConnectionGraph::gather_domains() {
  std::unordered_set<std::uint64_t> segments;
  const auto number = [](const DevicePlace& place) { return mix(place.netns, place.ifindex); };
  for (const Spot& spot : spots_) {
    if (spot.links != nullptr && spot.links->segment) segments.insert(number(*spot.links->segment));
  }
  for (std::uint32_t i = 0; i < spots_.size(); ++i) {
    const Spot& spot = spots_[i];
    if (!is_ip(spot.tuple)) continue;
    const DeviceLinks none;
    const DeviceLinks& links = spot.links == nullptr ? none : *spot.links;
    DomainKey key;
    key.entry = spot.entry;
    if (spot.entry < 0) key.tuple = spot.tuple;
    key.kind = Kind::segment;
    if (links.segment) {
      key.place = *links.segment;
      domains_[key].push_back({i, links.above});
    }
    if (segments.contains(number(spot.place))) {
      key.place = spot.place;
      domains_[key].push_back({i, links.above && !links.segment});
    }
    const bool is_port = links.bundle || (links.segment && !links.above);
    if (is_port || spot.vlan != 0 || !is_routed(spot.tuple)) continue;
    key.kind = Kind::routed;
    key.place = {spot.place.netns, links.vrf};
    domains_[key].push_back({i, false});
  }
}

bool ConnectionGraph::enters(const Member& member, int direction) const {
  const Spot& spot = spots_[member.spot];
  const auto own = static_cast<std::size_t>(direction ^ static_cast<int>(spot.flipped));
  return member.above ? spot.out[own] : spot.in[own];
}

bool ConnectionGraph::leaves(const Member& member, int direction) const {
  const Spot& spot = spots_[member.spot];
  const auto own = static_cast<std::size_t>(direction ^ static_cast<int>(spot.flipped));
  return member.above ? spot.in[own] : spot.out[own];
}

/// Whether anything was united. A set from which packets come and to which none go is a source of them; two sources of
/// one direction are two connections. What was united elsewhere may explain one of them, so this is asked again.
bool ConnectionGraph::unite(const Domain& domain) {
  struct Role {
    std::uint32_t set = 0;
    std::array<bool, 2> in{};
    std::array<bool, 2> out{};
  };
  std::vector<Role> roles;
  for (const Member& member : domain) {
    const std::uint32_t set = sets_.find(member.spot).first;
    const auto known = std::ranges::find(roles, set, &Role::set);
    Role& role = known != roles.end() ? *known : roles.emplace_back(Role{.set = set});
    for (int direction = 0; direction < 2; ++direction) {
      role.in[static_cast<std::size_t>(direction)] |= enters(member, direction);
      role.out[static_cast<std::size_t>(direction)] |= leaves(member, direction);
    }
  }
  if (roles.size() < 2) return false;
  for (std::size_t direction = 0; direction < 2; ++direction) {
    const auto sources =
        std::ranges::count_if(roles, [&](const Role& role) { return role.in[direction] && !role.out[direction]; });
    if (sources > 1) return false;
  }
  bool news = false;
  const Spot& first = spots_[domain.front().spot];
  for (const Member& member : domain) {
    news |= sets_.unite(domain.front().spot, member.spot, first.flipped != spots_[member.spot].flipped);
  }
  return news;
}

void ConnectionGraph::unite_domains() {
  std::vector<const Domain*> open;
  for (const auto& [key, domain] : domains_) {
    if (domain.size() > 1) open.push_back(&domain);
  }
  for (bool news = true; news;) {
    news = false;
    for (const Domain* domain : open) news |= unite(*domain);
  }
  for (const Domain* domain : open) add_hops(*domain);
}

void ConnectionGraph::add_hops(const Domain& domain) {
  for (const Member& from : domain) {
    const std::uint32_t set = sets_.find(from.spot).first;
    for (int direction = 0; direction < 2; ++direction) {
      if (!enters(from, direction)) continue;
      std::size_t added = 0;
      for (const Member& to : domain) {
        if (to.spot == from.spot || !leaves(to, direction) || sets_.find(to.spot).first != set) continue;
        const int own = direction ^ static_cast<int>(spots_[from.spot].flipped);
        hops_.push_back({from.spot, to.spot, static_cast<std::uint8_t>(own)});
        if (++added == kMostHopsFrom) break;
      }
    }
  }
}

}  // namespace weir::model
