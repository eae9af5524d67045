#include "lab/lab.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "lab/build.h"
#include "netns/netns.h"
#include "sys/poll_until.h"

namespace weir::lab {

namespace {

using SteadyClock = std::chrono::steady_clock;

struct Counters {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

/// Packets and bytes of a device in one direction, from /proc/net/dev seen from inside its namespace.
Result<Counters> read_counters(const std::string& netns_name, const std::string& dev, bool receive) {
  auto netns = netns::Netns::open(netns_name);
  if (!netns) return pass(std::move(netns));
  Counters counters;
  bool found = false;
  auto read = netns::run_in(*netns, [&]() -> Result<void> {
    std::ifstream file("/proc/thread-self/net/dev");
    for (std::string line; std::getline(file, line);) {
      std::replace(line.begin(), line.end(), ':', ' ');
      std::istringstream words(line);
      std::string name;
      std::uint64_t skipped = 0;
      words >> name;
      if (name != dev) continue;
      found = true;
      // bytes packets errs drop fifo frame compressed multicast | bytes packets …
      for (int i = 0; !receive && i < 8; ++i) words >> skipped;
      words >> counters.bytes >> counters.packets;
    }
    return {};
  });
  if (!read) return pass(std::move(read));
  if (!found) return fail(Errc::not_found, fmt::format("{}/{} is gone", netns_name, dev));
  return counters;
}

bool sends(TrafficKind kind) {
  switch (kind) {
    case TrafficKind::tcp_sink:
    case TrafficKind::udp_echo:
    case TrafficKind::udp_sink:
    case TrafficKind::udp_stalled:
    case TrafficKind::tcp_stalled:
      return false;
    default:
      return true;
  }
}

const char* to_string(TrafficKind kind) {
  switch (kind) {
    case TrafficKind::udp_flows:
      return "udp";
    case TrafficKind::tcp_bulk:
      return "tcp";
    case TrafficKind::tcp_sink:
      return "tcp-sink";
    case TrafficKind::tap_frames:
      return "tap-frames";
    case TrafficKind::udp_echo:
      return "echo";
    case TrafficKind::request_response:
      return "request-response";
    case TrafficKind::udp_sink:
      return "udp-sink";
    case TrafficKind::udp_stalled:
      return "udp-stalled";
    case TrafficKind::tcp_stalled:
      return "tcp-stalled";
    case TrafficKind::tcp_connects:
      return "tcp-connects";
  }
  return "unknown";
}

/// Polls a condition until it holds, fails, or the deadline has passed; false is "not yet".
template <class Condition>
Result<void> wait_until(SteadyClock::time_point deadline, const std::string& what, Condition&& condition) {
  Result<bool> now = false;
  const bool settled = sys::poll_until(deadline, [&] {
    now = condition();
    return !now || *now;
  });
  if (!now) return pass(std::move(now));
  if (!settled) return fail(Errc::failed, what);
  return {};
}

/// A namespace of the wanted name that exists already is somebody else's.
Result<void> check_names_free(const Blueprint& blueprint) {
  for (const NamespacePlan& netns : blueprint.namespaces) {
    if (access(("/run/netns/" + netns.name).c_str(), F_OK) != 0) continue;
    return fail(Errc::busy, fmt::format("the namespace '{}' exists already and is not this lab's", netns.name),
                "choose another --prefix");
  }
  return {};
}

/// Removes what a killed lab left under the prefix; a kept one is in the way.
Result<void> clean_before(const std::string& prefix) {
  auto record = read_record(prefix);
  if (!record) return pass(std::move(record));
  if (!*record) return {};
  if ((*record)->kept && (*record)->boot_id == current_boot_id()) {
    return fail(Errc::busy,
                fmt::format("the lab prefix '{}' is taken by {}, made by `weir lab up` (process {})", prefix,
                            (*record)->scenario, (*record)->pid),
                fmt::format("take it down with `weir lab down --prefix {}`, or choose another --prefix", prefix));
  }
  return remove_recorded(**record);
}

}  // namespace

struct Lab::Impl {
  Impl(PrefixLock held, Blueprint drawn) : lock(std::move(held)), blueprint(std::move(drawn)) {}

  PrefixLock lock;
  Blueprint blueprint;
  Record record;
  std::vector<Generator> traffic;
  bool standing = true;  ///< there is something to take down
  SteadyClock::time_point since{};
  std::vector<Counters> at_start;  ///< of the wire's devices

  Result<void> make_namespaces();
  [[nodiscard]] Result<std::vector<Counters>> delivered() const;
  Result<void> start_all(bool sinks, SteadyClock::time_point deadline);
};

Result<void> Lab::Impl::make_namespaces() {
  for (const NamespacePlan& plan : blueprint.namespaces) {
    // Announced first: a crash between these steps leaves a name that the next lab knows to remove.
    record.namespaces.push_back({plan.name, 0});
    if (auto ok = write_record(record, blueprint); !ok) return ok;
    auto netns = netns::Netns::create_named(plan.name);
    if (!netns) {
      record.namespaces.pop_back();
      return pass(std::move(netns));
    }
    record.namespaces.back().id = netns->id();
  }
  return write_record(record, blueprint);
}

Result<std::vector<Counters>> Lab::Impl::delivered() const {
  std::vector<Counters> all;
  for (const DevicePlan& device : blueprint.devices) {
    if (device.role != "wire") continue;
    auto counters = read_counters(device.netns, device.dev, true);
    if (!counters) return pass(std::move(counters));
    all.push_back(*counters);
  }
  return all;
}

Result<void> Lab::Impl::start_all(bool sinks, SteadyClock::time_point deadline) {
  const std::size_t first = traffic.size();
  for (const TrafficPlan& plan : blueprint.traffic) {
    if (sends(plan.kind) == sinks) continue;
    auto generator = Generator::start(plan);
    if (!generator) return pass(std::move(generator));
    traffic.push_back(std::move(*generator));
  }
  for (std::size_t i = first; i < traffic.size(); ++i) {
    const Generator& generator = traffic[i];
    const std::string late = fmt::format("traffic of {} did not get under way", generator.plan().label);
    auto ok = wait_until(deadline, late, [&]() -> Result<bool> {
      if (auto alive = generator.alive(); !alive) return pass(std::move(alive));
      return generator.stats().ready && (sinks || generator.stats().packets > 0);
    });
    if (!ok) return ok;
  }
  return {};
}

Lab::Lab(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Lab::Lab(Lab&&) noexcept = default;

Lab::~Lab() {
  // A caller who wants to know calls down(); what fails here is found by the next lab.
  if (impl_) static_cast<void>(down().has_value());
}

Result<Lab> Lab::up(std::string_view scenario, const Options& options) {
  auto blueprint = draw(scenario, options);
  if (!blueprint) return pass(std::move(blueprint));
  if (geteuid() != 0) {
    return fail(Errc::permission, "the lab builds network namespaces, which needs root", "run it with sudo");
  }
  auto lock = PrefixLock::take(options.prefix);
  if (!lock) return pass(std::move(lock));
  if (auto ok = clean_before(options.prefix); !ok) return pass(std::move(ok));
  if (auto ok = check_names_free(*blueprint); !ok) return pass(std::move(ok));
  Lab lab(std::make_unique<Impl>(std::move(*lock), std::move(*blueprint)));
  Impl& impl = *lab.impl_;
  impl.record = {.prefix = options.prefix,
                 .scenario = impl.blueprint.scenario,
                 .boot_id = current_boot_id(),
                 .pid = getpid(),
                 .kept = false,
                 .namespaces = {}};
  if (auto ok = impl.make_namespaces(); !ok) return pass(std::move(ok));
  if (auto ok = build(impl.blueprint); !ok) return pass(std::move(ok), "building " + impl.blueprint.scenario);
  return lab;
}

Result<void> Lab::start_traffic(std::chrono::nanoseconds timeout) {
  const auto deadline = SteadyClock::now() + timeout;
  if (auto ok = impl_->start_all(true, deadline); !ok) return ok;
  auto before = impl_->delivered();
  if (!before) return pass(std::move(before));
  if (auto ok = impl_->start_all(false, deadline); !ok) return ok;
  // Every uplink that has a sender is to carry packets; with one uplink that is the only one.
  constexpr std::uint64_t kFlowing = 20;
  auto flowing = wait_until(deadline, "no packets arrive in the wire", [&]() -> Result<bool> {
    auto now = impl_->delivered();
    if (!now) return pass(std::move(now));
    for (std::size_t i = 0; i < now->size(); ++i) {
      if ((*now)[i].packets < (*before)[i].packets + kFlowing) return false;
    }
    return true;
  });
  if (!flowing) return flowing;
  auto start = impl_->delivered();
  if (!start) return pass(std::move(start));
  impl_->at_start = std::move(*start);
  impl_->since = SteadyClock::now();
  return {};
}

void Lab::stop_traffic() {
  impl_->traffic.clear();
}

Result<void> Lab::traffic_alive() const {
  for (const Generator& generator : impl_->traffic) {
    if (auto alive = generator.alive(); !alive) return alive;
  }
  return {};
}

Result<Report> Lab::report() const {
  Report report;
  report.duration = SteadyClock::now() - impl_->since;
  for (const Generator& generator : impl_->traffic) {
    const Stats& stats = generator.stats();
    report.senders.push_back({.label = generator.plan().label,
                              .netns = generator.plan().netns,
                              .kind = generator.plan().kind,
                              .flows = generator.plan().flows,
                              .packets = stats.packets,
                              .bytes = stats.bytes,
                              .errors = stats.errors,
                              .p50 = stats.latency.percentile(0.5),
                              .p99 = stats.latency.percentile(0.99),
                              .p999 = stats.latency.percentile(0.999)});
  }
  auto now = impl_->delivered();
  if (!now) return pass(std::move(now));
  for (std::size_t i = 0; i < now->size() && i < impl_->at_start.size(); ++i) {
    report.delivered_packets += (*now)[i].packets - impl_->at_start[i].packets;
    report.delivered_bytes += (*now)[i].bytes - impl_->at_start[i].bytes;
  }
  return report;
}

Result<void> Lab::down() {
  stop_traffic();
  if (!std::exchange(impl_->standing, false)) return {};
  return remove_recorded(impl_->record);
}

Result<void> Lab::keep() {
  stop_traffic();
  impl_->record.kept = true;
  if (auto ok = write_record(impl_->record, impl_->blueprint); !ok) return ok;
  impl_->standing = false;
  return {};
}

const Blueprint& Lab::blueprint() const {
  return impl_->blueprint;
}

std::string Lab::document_path() const {
  return record_path(impl_->record.prefix);
}

Result<void> take_down(const std::string& prefix) {
  if (auto ok = check({.prefix = prefix}); !ok) return ok;
  if (geteuid() != 0) return fail(Errc::permission, "taking a lab down needs root", "run it with sudo");
  // The lock first: one that was killed before it had a record leaves nothing but the lock's file.
  auto lock = PrefixLock::take(prefix);
  if (!lock) return pass(std::move(lock));
  auto record = read_record(prefix);
  if (!record) return pass(std::move(record));
  if (!*record) return fail(Errc::not_found, fmt::format("there is no lab under the prefix '{}'", prefix));
  return remove_recorded(**record);
}

nlohmann::ordered_json to_json(const Report& report) {
  const double seconds = std::chrono::duration<double>(report.duration).count();
  const auto rate = [&](std::uint64_t amount) { return seconds > 0 ? static_cast<double>(amount) / seconds : 0; };
  auto senders = nlohmann::ordered_json::array();
  for (const SenderReport& sender : report.senders) {
    nlohmann::ordered_json row{{"label", sender.label},  {"netns", sender.netns},     {"kind", to_string(sender.kind)},
                               {"flows", sender.flows},  {"packets", sender.packets}, {"bytes", sender.bytes},
                               {"errors", sender.errors}};
    if (sender.kind == TrafficKind::request_response) {
      row["latency"] = {
          {"p50_ns", sender.p50.count()}, {"p99_ns", sender.p99.count()}, {"p999_ns", sender.p999.count()}};
    }
    senders.push_back(std::move(row));
  }
  return {{"schema", "weir.lab_report/1"},
          {"duration_ns", report.duration.count()},
          {"senders", senders},
          {"delivered",
           {{"packets", report.delivered_packets},
            {"bytes", report.delivered_bytes},
            {"rate_pps", rate(report.delivered_packets)},
            {"rate_bps", 8 * rate(report.delivered_bytes)}}}};
}

}  // namespace weir::lab
