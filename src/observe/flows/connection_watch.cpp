#include "observe/flows/connection_watch.h"

#include <optional>
#include <set>
#include <unordered_set>
#include <utility>

namespace weir::observe {

namespace {

/// Ends of flows by hash and namespace: a wrong one among them only costs a look.
class WantedEnds {
 public:
  void add(std::uint64_t netns, const model::FlowTuple& tuple) {
    ends_.insert(number(netns, tuple));
    ends_.insert(number(netns, tuple.reversed()));
  }
  [[nodiscard]] bool has(const model::ConntrackEntry& entry) const {
    return ends_.contains(number(entry.netns, entry.original)) || ends_.contains(number(entry.netns, entry.reply));
  }
  [[nodiscard]] bool empty() const { return ends_.empty(); }

 private:
  static std::uint64_t number(std::uint64_t netns, const model::FlowTuple& tuple) {
    return model::hash_of(tuple) + netns * 0x9E3779B97F4A7C15ULL;
  }
  std::unordered_set<std::uint64_t> ends_;
};

/// TCP that is thrown out of the table while it talks (conntrack -F) goes on.
bool has_closed(const model::ConntrackEntry& entry) {
  constexpr std::uint8_t kTcp = 6;
  return entry.original.protocol != kTcp || entry.tcp_closed();
}

}  // namespace

struct ConnectionWatch::Parts {
  std::shared_ptr<model::Topology> topology = std::make_shared<model::Topology>();
  std::optional<FlowWatch> flows;
  std::optional<ConntrackPlane> plane;
  std::function<model::FlowSide(const model::Flow&)> side;
  model::ConnectionJoiner joiner;

  Result<void> tell_ends(const std::vector<model::ConntrackEntry>& over, const FlowWatch::EventVisitor& visit);
};

ConnectionWatch::ConnectionWatch(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ConnectionWatch::ConnectionWatch(ConnectionWatch&&) noexcept = default;
ConnectionWatch& ConnectionWatch::operator=(ConnectionWatch&&) noexcept = default;
ConnectionWatch::~ConnectionWatch() = default;

Result<ConnectionWatch> ConnectionWatch::start(ConnectionRequest request, const Clock& clock) {
  auto parts = std::make_unique<Parts>();
  FlowRequest flows = std::move(request.flows);
  flows.read_config = [topology = parts->topology, read = std::move(flows.read_config)] {
    auto config = read();
    if (config) topology->learn(*config);
    return config;
  };
  parts->side = std::move(request.side);
  // The tables first: what begins from now on is told of.
  if (request.conntrack) parts->plane.emplace(std::move(request.tables), clock);
  auto watch = FlowWatch::start(std::move(flows), clock);
  if (!watch) return pass(std::move(watch));
  parts->flows.emplace(*std::move(watch));
  return ConnectionWatch(std::move(parts));
}

/// The elephants, on whatever device, that are one connection with one of these entries.
Result<void> ConnectionWatch::Parts::tell_ends(const std::vector<model::ConntrackEntry>& over,
                                               const FlowWatch::EventVisitor& visit) {
  std::vector<std::shared_ptr<const model::ConntrackEntry>> entries;
  for (const model::ConntrackEntry& entry : over) entries.push_back(std::make_shared<model::ConntrackEntry>(entry));
  std::vector<model::Flow> elephants;
  for (const model::FlowKey& key : flows->elephants()) {
    model::Flow& flow = elephants.emplace_back();
    flow.key = key;
  }
  model::ConnectionJoiner once;
  once.join({.flows = elephants, .topology = *topology, .conntrack = entries, .side = {}});
  std::unordered_set<std::uint64_t> ended;
  for (const model::Flow& flow : elephants) {
    if (flow.conntrack) ended.insert(flow.connection->id);
  }
  std::set<model::FlowKey> keys;
  for (const model::Flow& flow : elephants) {
    if (ended.contains(flow.connection->id)) keys.insert(flow.key);
  }
  return keys.empty() ? Result<void>() : flows->tell_end(keys, visit);
}

Result<void> ConnectionWatch::poll(std::chrono::milliseconds timeout, const FlowWatch::EventVisitor& visit) {
  if (auto polled = parts_->flows->poll(timeout, visit); !polled) return polled;
  if (!parts_->plane) return {};
  WantedEnds wanted;
  for (const model::FlowKey& key : parts_->flows->elephants()) wanted.add(key.netns, key.tuple);
  std::vector<model::ConntrackEntry> over;
  parts_->plane->poll([&](const model::ConntrackEntry& entry) {
    if (wanted.has(entry) && has_closed(entry)) over.push_back(entry);
  });
  return over.empty() ? Result<void>() : parts_->tell_ends(over, visit);
}

const FlowWatch& ConnectionWatch::flow_watch() const {
  return *parts_->flows;
}

Result<JoinedWindow> ConnectionWatch::window() {
  Parts& state = *parts_;
  auto window = state.flows->window();
  if (!window) return pass(std::move(window));
  JoinedWindow joined;
  joined.flows = *std::move(window);
  std::vector<std::shared_ptr<const model::ConntrackEntry>> entries;
  if (state.plane) {
    state.plane->refresh();
    WantedEnds wanted;
    for (const model::Flow& flow : joined.flows.flows) wanted.add(flow.key.netns, flow.key.tuple);
    entries = state.plane->entries([&](const model::ConntrackEntry& entry) { return wanted.has(entry); });
    joined.conntrack = state.plane->account();
    state.plane->begin_window();
  }
  joined.connections = state.joiner.join(
      {.flows = joined.flows.flows, .topology = *state.topology, .conntrack = entries, .side = state.side});
  return joined;
}

}  // namespace weir::observe
