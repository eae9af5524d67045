#include "observe/flows/flow_watch.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <set>

#include "observe/flows/flow_journal.h"
#include "observe/flows/flow_window.h"

namespace weir::observe {

namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kRefreshEvery = std::chrono::seconds(1);

double rate_of(const weir_flow_event& event) {
  return event.span_ns == 0 ? 0 : static_cast<double>(event.span_bytes) * 8e9 / static_cast<double>(event.span_ns);
}

/// Halfway between two readings, because the flows were read in between.
InterfaceCounts middle(const InterfaceCounts& first, InterfaceCounts second) {
  for (auto& [where, count] : second) {
    const auto earlier = first.find(where);
    if (earlier == first.end()) continue;
    const std::uint64_t rx = count.rx_bytes - earlier->second.rx_bytes;
    const std::uint64_t tx = count.tx_bytes - earlier->second.tx_bytes;
    count.rx_bytes = earlier->second.rx_bytes + rx / 2;
    count.tx_bytes = earlier->second.tx_bytes + tx / 2;
    count.rx_unsure = rx - rx / 2;
    count.tx_unsure = tx - tx / 2;
  }
  return second;
}

}  // namespace

struct FlowWatch::Parts {
  FlowRequest request;
  const Clock* clock;
  DataPlane data_plane;
  FlowTable table;
  model::HostConfig config;
  DeviceIndex devices;
  InterfaceCounts counters;
  std::optional<FlowJournal> journal;  ///< of a pinned data plane
  std::optional<PinNews> pin;
  std::optional<bpf::RingHandle> ring;
  std::deque<weir_flow_event> waiting;
  std::set<model::FlowKey> told;  ///< elephants whose promotion was told and whose end was not
  nanoseconds refreshed{};
  nanoseconds began{};
  std::chrono::sys_time<nanoseconds> began_at;

  Parts(FlowRequest wanted, const Clock& time, DataPlane plane, model::HostConfig host)
      : request(std::move(wanted)),
        clock(&time),
        data_plane(std::move(plane)),
        table(data_plane, request.retirement),
        config(std::move(host)),
        devices(config) {}

  Result<void> open_ring();
  Result<void> refresh();
  Result<void> begin();
  Result<void> begin_pinned();
  Result<void> go_on(FlowHandover left);
  Result<void> remember();
  void tell_waiting(const EventVisitor& visit);
  void tell_silent(const EventVisitor& visit);
};

Result<void> FlowWatch::Parts::open_ring() {
  auto opened = bpf::RingHandle::open(data_plane.flow_events_fd(), [this](const void* record, std::size_t bytes) {
    if (bytes < sizeof(weir_flow_event)) return;
    weir_flow_event event;
    std::memcpy(&event, record, sizeof event);
    waiting.push_back(event);
  });
  if (!opened) return pass(std::move(opened), "flow events");
  ring.emplace(*std::move(opened));
  return {};
}

Result<void> FlowWatch::Parts::refresh() {
  refreshed = clock->monotonic();
  return table.refresh(refreshed);
}

/// The first window: with what has been seen while everything was set up.
Result<void> FlowWatch::Parts::begin() {
  const InterfaceCounts first = request.read_counters(devices.namespaces());
  if (auto read = refresh(); !read) return read;
  counters = middle(first, request.read_counters(devices.namespaces()));
  table.begin_window();
  began = refreshed;
  began_at = clock->realtime();
  return remember();
}

/// For the next owner of a pinned data plane.
Result<void> FlowWatch::Parts::remember() {
  if (!journal) return {};
  return journal->begin_window({.began = began, .began_at = began_at, .table = table.baseline(), .counters = counters});
}

Result<void> FlowWatch::Parts::begin_pinned() {
  pin = data_plane.pin();
  journal.emplace(pin->side_file, pin->id);
  table.remember_for_others([this](std::uint64_t round, const auto& ended) { return journal->take_out(round, ended); });
  if (!pin->taken_over()) return begin();
  auto left = journal->read();
  if (!left) return pass(std::move(left));
  if (*left) return go_on(**std::move(left));
  pin->lost = "it is not known where the last window began: this one begins now";
  return begin();
}

/// What happened while nobody watched is told as if it happened now.
Result<void> FlowWatch::Parts::go_on(FlowHandover left) {
  table.continue_from(std::move(left.table));
  counters = std::move(left.counters);
  began = left.began;
  began_at = left.began_at;
  if (auto seen = ring->consume(); !seen) return pass(std::move(seen));
  if (auto read = refresh(); !read) return read;
  for (const auto& [id, record] : table.flows()) {
    if (record.now.elephant != 0 && !record.sketched) told.insert(flow_key(id));
  }
  for (const weir_flow_event& event : waiting) {
    if (event.what == WEIR_FLOW_PROMOTED) told.erase(flow_key(event.id));
  }
  return {};
}

void FlowWatch::Parts::tell_waiting(const EventVisitor& visit) {
  while (!waiting.empty()) {
    const weir_flow_event raw = waiting.front();
    waiting.pop_front();
    model::FlowEvent event;
    event.kind = raw.what == WEIR_FLOW_PROMOTED ? model::FlowEvent::Kind::promoted : model::FlowEvent::Kind::demoted;
    event.time = nanoseconds(static_cast<nanoseconds::rep>(raw.time_ns));
    event.key = flow_key(raw.id);
    event.bytes = raw.bytes;
    event.rate_bps = rate_of(raw);
    // One that was silent has been told of already.
    const bool news =
        event.kind == model::FlowEvent::Kind::promoted ? told.insert(event.key).second : told.erase(event.key) != 0;
    if (news && visit) visit(event, devices.name(raw.id.netns, raw.id.ifindex));
  }
}

/// The programs only look at a flow when it sends: of one that has stopped, the end is told here.
void FlowWatch::Parts::tell_silent(const EventVisitor& visit) {
  if (told.empty()) return;
  for (const auto& [id, record] : table.flows()) {
    if (record.now.elephant == 0 || record.sketched) continue;
    const nanoseconds last(static_cast<nanoseconds::rep>(record.now.last_ns));
    const bool silent = refreshed - last >= request.elephants.demote_after;
    if (!record.gone && !silent) continue;
    model::FlowEvent event;
    event.key = flow_key(id);
    if (told.erase(event.key) == 0) continue;
    event.kind = record.gone ? model::FlowEvent::Kind::ended : model::FlowEvent::Kind::demoted;
    event.time = refreshed;
    event.bytes = record.now.bytes;
    if (visit) visit(event, devices.name(id.netns, id.ifindex));
  }
}

FlowWatch::FlowWatch(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
FlowWatch::FlowWatch(FlowWatch&&) noexcept = default;
FlowWatch& FlowWatch::operator=(FlowWatch&&) noexcept = default;
FlowWatch::~FlowWatch() = default;

Result<FlowWatch> FlowWatch::start(FlowRequest request, const Clock& clock) {
  auto config = request.read_config();
  if (!config) return pass(std::move(config));
  auto data_plane = DataPlane::start({.sample_rate = 0,
                                      .queues = false,
                                      .flows = request.flows,
                                      .elephants = request.elephants,
                                      .btf_path = request.btf_path,
                                      .pin_directory = request.pin_directory});
  if (!data_plane) return pass(std::move(data_plane));
  auto parts = std::make_unique<Parts>(std::move(request), clock, *std::move(data_plane), *std::move(config));
  if (auto opened = parts->open_ring(); !opened) return pass(std::move(opened));
  auto begun = parts->data_plane.pin() ? parts->begin_pinned() : parts->begin();
  if (!begun) return pass(std::move(begun));
  // Not before it is known where the window began.
  if (auto kept = parts->data_plane.keep(); !kept) return pass(std::move(kept));
  return FlowWatch(std::move(parts));
}

const std::optional<PinNews>& FlowWatch::pin() const {
  return parts_->pin;
}

Result<void> FlowWatch::poll(std::chrono::milliseconds timeout, const EventVisitor& visit) {
  auto seen = parts_->ring->poll(timeout);
  if (!seen) return pass(std::move(seen));
  parts_->tell_waiting(visit);
  if (parts_->clock->monotonic() - parts_->refreshed < kRefreshEvery) return {};
  if (auto read = parts_->refresh(); !read) return read;
  parts_->tell_silent(visit);
  return {};
}

const std::set<model::FlowKey>& FlowWatch::elephants() const {
  return parts_->told;
}

Result<void> FlowWatch::tell_end(const std::set<model::FlowKey>& ended, const EventVisitor& visit) {
  // They may have begun since the table was read.
  if (auto read = parts_->table.refresh(parts_->clock->monotonic()); !read) return read;
  for (const auto& [id, record] : parts_->table.flows()) {
    model::FlowEvent event;
    event.key = flow_key(id);
    if (!ended.contains(event.key) || parts_->told.erase(event.key) == 0) continue;
    event.kind = model::FlowEvent::Kind::ended;
    event.time = parts_->clock->monotonic();
    event.bytes = record.now.bytes;
    if (visit) visit(event, parts_->devices.name(id.netns, id.ifindex));
  }
  return {};
}

Result<model::FlowWindow> FlowWatch::window() {
  Parts& state = *parts_;
  auto config = state.request.read_config();
  if (!config) return pass(std::move(config));
  state.config = *std::move(config);
  state.devices = DeviceIndex(state.config);
  const InterfaceCounts first = state.request.read_counters(state.devices.namespaces());
  if (auto read = state.refresh(); !read) return pass(std::move(read));
  InterfaceCounts after = middle(first, state.request.read_counters(state.devices.namespaces()));
  model::FlowWindow window = build_window({.table = state.table,
                                           .request = state.request,
                                           .devices = state.devices,
                                           .before = state.counters,
                                           .after = after,
                                           .now = state.refreshed,
                                           .duration = state.refreshed - state.began});
  window.start = state.began_at;
  state.counters = std::move(after);
  state.table.begin_window();
  state.began = state.refreshed;
  state.began_at = state.clock->realtime();
  if (auto remembered = state.remember(); !remembered) return pass(std::move(remembered));
  return window;
}

}  // namespace weir::observe
