#include "observe/queues/observer.h"

#include <algorithm>
#include <map>
#include <optional>

#include "observe/queues/path_follower.h"
#include "observe/queues/queue_reader.h"

namespace weir::observe {

using std::chrono::nanoseconds;

/// A running observation: cumulative totals of the last read, and the windows made of them so far.
struct QueueWatch::Parts {
  const ObserveRequest& request;
  const Clock& clock;
  model::HostConfig config;
  DataPlane data_plane;
  QueueTotals last;
  nanoseconds last_time{};
  std::optional<PathFollower> follower;
  std::vector<model::DeviceRef> followed;
  std::map<model::DeviceRef, model::DeviceObservation> devices;
  std::vector<std::string> notes;

  Result<bool> run_window(nanoseconds length);
  Result<void> follow(const std::vector<model::DeviceRef>& targets);
  [[nodiscard]] std::vector<model::DeviceRef> suspects() const;
  Result<void> follow_suspects();
  Result<bool> begin_following(nanoseconds scouting);
  Result<void> run_windows(int count, nanoseconds length);
  Result<void> read_changes();
};

namespace {

bool had_packets(const model::QueueWindow& window) {
  const auto counted = [](const model::QueueCount& count) { return count.packets > 0; };
  return std::ranges::any_of(window.tx, counted) || std::ranges::any_of(window.rx, counted);
}

}  // namespace

/// Waits and adds a window to every wanted device; false when the user wants to stop.
Result<bool> QueueWatch::Parts::run_window(nanoseconds length) {
  const bool goes_on = request.wait(length);
  const nanoseconds now = clock.monotonic();
  auto totals = read_queue_totals(data_plane);
  if (!totals) return pass(std::move(totals));
  for (const model::DeviceConfig& device : config.devices) {
    if (request.wanted && !request.wanted(device)) continue;
    const DeviceKey key{device.ref.netns.id, device.ref.ifindex.value};
    model::QueueWindow window = queue_window(key, last, *totals, now - last_time, data_plane.sample_rate(), config);
    model::DeviceObservation& seen = devices[device.ref];
    seen.device = device.ref;
    seen.windows.push_back(std::move(window));
  }
  last = *std::move(totals);
  last_time = now;
  return goes_on;
}

std::vector<model::DeviceRef> QueueWatch::Parts::suspects() const {
  std::vector<model::DeviceRef> found;
  if (!request.suspicious) return found;
  for (const auto& [ref, seen] : devices) {
    const model::DeviceConfig* device = config.find(ref);
    if (device == nullptr || seen.windows.empty() || std::ranges::find(followed, ref) != followed.end()) continue;
    if (request.suspicious(*device, seen.windows.back())) found.push_back(ref);
  }
  return found;
}

/// Follows `targets` as well as those followed before. Failing to follow is not failing to observe: it is noted.
Result<void> QueueWatch::Parts::follow(const std::vector<model::DeviceRef>& targets) {
  if (targets.empty()) return {};
  followed.insert(followed.end(), targets.begin(), targets.end());
  follower.reset();  // its egress links would see every packet twice
  auto started = PathFollower::start(data_plane, followed, request.btf_path);
  if (!started) {
    notes.push_back("the path could not be followed: " + started.error().message);
    return {};
  }
  follower = *std::move(started);
  // Windows begin once the follower sees everything: what passed while it was attached is attributed less exactly.
  auto totals = read_queue_totals(data_plane);
  if (!totals) return pass(std::move(totals));
  last = *std::move(totals);
  last_time = clock.monotonic();
  return {};
}

Result<void> QueueWatch::Parts::read_changes() {
  if (!follower) return {};
  for (const model::DeviceRef& target : followed) {
    auto changes = follower->changes(target, config);
    if (!changes) return pass(std::move(changes));
    devices[target].changes = *std::move(changes);
    devices[target].before_pick_seen = follower->reach().before_pick();
  }
  return {};
}

QueueWatch::QueueWatch(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
QueueWatch::QueueWatch(QueueWatch&&) noexcept = default;
QueueWatch& QueueWatch::operator=(QueueWatch&&) noexcept = default;
QueueWatch::~QueueWatch() = default;

Result<QueueWatch> QueueWatch::start(const ObserveRequest& request, const Clock& clock) {
  auto config = request.read_config();
  if (!config) return pass(std::move(config));
  auto data_plane = DataPlane::start({.sample_rate = request.sample_rate, .btf_path = request.btf_path});
  if (!data_plane) return pass(std::move(data_plane));
  auto parts = std::make_unique<Parts>(request, clock, *std::move(config), *std::move(data_plane));
  auto totals = read_queue_totals(parts->data_plane);
  if (!totals) return pass(std::move(totals));
  parts->last = *std::move(totals);
  parts->last_time = clock.monotonic();
  return QueueWatch(std::move(parts));
}

namespace {

/// What was there at the start and is not at the end has vanished, and is told of even if it was idle.
model::HostObservation collect(const std::map<model::DeviceRef, model::DeviceObservation>& devices,
                               const model::HostConfig& at_start, const model::HostConfig& at_end, bool keep_idle) {
  model::HostObservation observation;
  observation.config = at_start;
  for (const auto& [ref, seen] : devices) {
    const bool vanished = at_end.find(ref) == nullptr;
    if (!keep_idle && !vanished && std::ranges::none_of(seen.windows, had_packets)) continue;
    observation.devices.push_back(seen);
    observation.devices.back().vanished = vanished;
  }
  return observation;
}

}  // namespace

Result<model::HostObservation> QueueWatch::next(nanoseconds window, bool& interrupted) {
  Parts& state = *parts_;
  state.devices.clear();
  const auto start = state.clock.realtime();
  const nanoseconds began = state.clock.monotonic();
  auto goes_on = state.run_window(window);
  if (!goes_on) return pass(std::move(goes_on));
  interrupted = !*goes_on;
  auto at_end = state.request.read_config();  // devices come and go under a live view
  if (!at_end) return pass(std::move(at_end));
  model::HostObservation observation = collect(state.devices, state.config, *at_end, state.request.keep_idle);
  state.config = *std::move(at_end);
  observation.start = start;
  observation.duration = state.clock.monotonic() - began;
  observation.accounting = state.last.accounting;
  return observation;
}

/// What is suspicious by the last window is followed from now on.
Result<void> QueueWatch::Parts::follow_suspects() {
  return follow(suspects());
}

/// Follows every suspicious device from the start, or scouts for one window first. False when the user wants to stop.
Result<bool> QueueWatch::Parts::begin_following(nanoseconds scouting) {
  if (request.follow_at_once) {
    std::vector<model::DeviceRef> targets;
    for (const model::DeviceConfig& device : config.devices) {
      if (request.wanted(device) && request.suspicious(device, {})) targets.push_back(device.ref);
    }
    if (auto begun = follow(targets); !begun) return pass(std::move(begun));
    return true;
  }
  auto goes_on = run_window(scouting);
  if (!goes_on || !*goes_on) return goes_on;  // interrupted: the scouting window is all there is
  if (auto begun = follow_suspects(); !begun) return pass(std::move(begun));
  devices.clear();  // what was scouted without the follower would blur what is now seen exactly
  return true;
}

/// Runs `count` windows; whatever turns suspicious on the way is followed for the rest.
Result<void> QueueWatch::Parts::run_windows(int count, nanoseconds length) {
  for (int window = 0; window < count; ++window) {
    auto goes_on = run_window(length);
    if (!goes_on) return pass(std::move(goes_on));
    if (!*goes_on || window + 1 == count) return {};
    if (auto begun = follow_suspects(); !begun) return begun;
  }
  return {};
}

Result<model::HostObservation> observe(const ObserveRequest& request, const Clock& clock) {
  const auto start = clock.realtime();
  auto watch = QueueWatch::start(request, clock);
  if (!watch) return pass(std::move(watch));
  QueueWatch::Parts& state = *watch->parts_;
  const nanoseconds began = state.last_time;

  Result<bool> goes_on = true;
  nanoseconds window = request.duration / request.windows;
  if (request.suspicious) {
    if (!request.follow_at_once) window = request.duration / (request.windows + 1);
    goes_on = state.begin_following(window);
    if (!goes_on) return pass(std::move(goes_on));
  }
  if (*goes_on) {
    if (auto ran = state.run_windows(request.windows, window); !ran) return pass(std::move(ran));
  }
  if (auto read = state.read_changes(); !read) return pass(std::move(read));

  auto at_end = request.read_config();
  if (!at_end) return pass(std::move(at_end));
  model::HostObservation observation = collect(state.devices, state.config, *at_end, request.keep_idle);
  observation.start = start;
  observation.duration = clock.monotonic() - began;
  observation.accounting = state.last.accounting;
  observation.config.unread.insert(observation.config.unread.end(), state.notes.begin(), state.notes.end());
  return observation;
}

}  // namespace weir::observe
