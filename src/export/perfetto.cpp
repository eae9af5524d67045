#include "export/perfetto.h"

#include <fmt/format.h>

#include <algorithm>
#include <compare>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "model/json.h"
#include "model/json_writer.h"
#include "model/trace_json.h"

namespace weir::exporter {

namespace {

using model::Journey;
using model::TraceEvent;

/// A process of its own for whole journeys, before those of namespaces.
constexpr std::uint32_t kJourneysProcess = 1;
constexpr std::uint32_t kFirstNetnsProcess = 2;

/// The stay of a packet between two events.
struct Stay {
  std::uint64_t begin_ns = 0;
  std::uint64_t end_ns = 0;
  model::DeviceRef device;
  const TraceEvent* event = nullptr;
  std::string args;  ///< an object in JSON
  enum class Place : std::uint8_t { only, first, middle, last } place = Place::middle;
};

struct Track {
  std::uint32_t process = 0;
  std::uint32_t thread = 0;
};

/// Microseconds with the nanoseconds behind the point; a double would round them away.
std::string micros(std::uint64_t ns) {
  return fmt::format("{}.{:03}", ns / 1000, ns % 1000);
}

std::string quoted(const std::string& text) {
  model::JsonWriter to;
  to.value(text);
  return std::move(to).take();
}

std::string device_name(const model::DeviceRef& device) {
  return device.ifindex.value == 0 ? "no device" : device.name;
}

/// Gives every namespace its process and every stay a lane of its device in which nothing else is meanwhile: slices of
/// one thread must nest, and packets do not.
class Lanes {
 public:
  /// Stays must come by the time of their beginning.
  Track place(const Stay& stay) {
    Device& device = devices_[stay.device];
    for (; !device.busy.empty() && device.busy.top().until_ns <= stay.begin_ns; device.busy.pop()) {
      device.free.insert(device.busy.top().lane);
    }
    if (device.free.empty()) {
      device.free.insert(device.tracks.size());
      device.tracks.push_back(add_track(stay.device, device.tracks.size()));
    }
    // The lowest one, so that the lanes at the bottom are the ones of rare crowds.
    const std::size_t lane = *device.free.begin();
    device.free.erase(device.free.begin());
    device.busy.push({stay.end_ns, lane});
    return device.tracks[lane];
  }
  /// Metadata events with the names of all tracks.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }

 private:
  struct Busy {
    std::uint64_t until_ns = 0;
    std::size_t lane = 0;
    auto operator<=>(const Busy&) const = default;
  };
  struct Device {
    std::vector<Track> tracks;
    std::set<std::size_t> free;
    std::priority_queue<Busy, std::vector<Busy>, std::greater<>> busy;  ///< the first to end on top
  };
  /// One more lane of a device that has `before` of them.
  Track add_track(const model::DeviceRef& device, std::size_t before) {
    const auto [process, is_new] =
        processes_.try_emplace(device.netns.id, kFirstNetnsProcess + static_cast<std::uint32_t>(processes_.size()));
    if (is_new) names_.push_back(process_name(process->second, device.netns));
    const Track track{process->second, ++threads_};
    const std::string suffix = before == 0 ? "" : fmt::format(" ({})", before + 1);
    names_.push_back(fmt::format(R"({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":{}}}}})",
                                 track.process, track.thread, quoted(device_name(device) + suffix)));
    return track;
  }
  static std::string process_name(std::uint32_t process, const model::NetnsRef& netns) {
    const std::string name = netns.name.empty() ? "unknown namespace" : netns.name;
    return fmt::format(R"({{"ph":"M","name":"process_name","pid":{},"args":{{"name":{}}}}})", process, quoted(name));
  }
  std::map<model::DeviceRef, Device> devices_;
  std::map<std::uint64_t, std::uint32_t> processes_;
  std::uint32_t threads_ = 0;
  std::vector<std::string> names_;
};

/// What a click on a slice shows.
std::string arguments(const TraceEvent& event, const model::Packet* packet, const model::FieldChanges& changes) {
  model::JsonWriter to;
  to.object([&] {
    to.field("journey", model::journey_text(event.journey));
    to.field("sequence", event.sequence);
    to.field("cpu", event.cpu);
    if (packet != nullptr) to.field("packet", model::to_text(*packet));
    to.field("queue_mapping", event.skb.queue_mapping);
    to.field("len", event.skb.len);
    for (const auto& [field, values] : changes) {
      to.field("changed " + field, model::to_text(values.first, -1) + " -> " + model::to_text(values.second, -1));
    }
    if (event.drop) to.field("drop", event.drop->reason + " at " + event.drop->location);
    if (event.nft) {
      const model::NftVerdict& nft = *event.nft;
      to.field("nft", fmt::format("{} {} {} handle {}: {}", nft.family, nft.table, nft.chain, nft.handle, nft.verdict));
    }
    if (!event.workload.empty()) to.field("workload", event.workload);
  });
  return std::move(to).take();
}

/// The stays of a journey; gives the text of its first known packet.
std::string add_stays(const Journey& journey, std::uint64_t offset_ns, std::vector<Stay>& stays) {
  using Place = Stay::Place;
  model::JourneyState state;
  std::string packet;
  const std::size_t count = journey.events.size();
  for (std::size_t i = 0; i < count; ++i) {
    const TraceEvent& event = journey.events[i];
    const model::FieldChanges changes = state.advance(event);
    if (packet.empty() && state.packet() != nullptr) packet = model::to_text(*state.packet());
    const std::uint64_t begin = event.time_ns + offset_ns;
    // What ends at once is still to be seen, and clocks of CPUs may differ by a little.
    const std::uint64_t next = i + 1 < count ? journey.events[i + 1].time_ns + offset_ns : begin;
    const Place place = count == 1 ? Place::only : i == 0 ? Place::first : i + 1 == count ? Place::last : Place::middle;
    stays.push_back(
        {begin, std::max(next, begin + 1), state.device(), &event, arguments(event, state.packet(), changes), place});
  }
  return packet;
}

/// The commas between the elements of "traceEvents".
class EventList {
 public:
  explicit EventList(std::ostream& out) : out_(out) { out_ << R"({"displayTimeUnit":"ns","traceEvents":[)"; }
  void add(const std::string& event) {
    out_ << (first_ ? "\n" : ",\n") << event;
    first_ = false;
  }
  void end() { out_ << "\n]}\n"; }

 private:
  std::ostream& out_;
  bool first_ = true;
};

void add_journey(EventList& list, const Journey& journey, const std::string& packet, std::uint64_t offset_ns) {
  const std::string id = model::journey_text(journey.id);
  const auto edge = [&](char phase, std::uint64_t time_ns, const std::string& args) {
    list.add(fmt::format(R"({{"ph":"{}","cat":"journey","name":{},"id":"0x{}","pid":{},"tid":0,"ts":{}{}}})", phase,
                         quoted(packet.empty() ? id : packet), id, kJourneysProcess, micros(time_ns + offset_ns),
                         args));
  };
  model::JsonWriter args;
  args.object([&] {
    args.field("journey", id);
    args.field("end", to_string(journey.end));
    args.field("complete", journey.complete());
    args.field("lost_events", journey.lost_events);
  });
  edge('b', journey.events.front().time_ns, R"(,"args":)" + std::move(args).take());
  edge('e', std::max(journey.events.back().time_ns, journey.events.front().time_ns + 1), "");
}

void add_stay(EventList& list, const Stay& stay, const Track& track) {
  const std::string where =
      fmt::format(R"("pid":{},"tid":{},"ts":{})", track.process, track.thread, micros(stay.begin_ns));
  list.add(fmt::format(R"({{"ph":"X","cat":"hook","name":{},{},"dur":{},"args":{}}})", quoted(stay.event->hook.name),
                       where, micros(stay.end_ns - stay.begin_ns), stay.args));
  if (stay.place == Stay::Place::only) return;
  const char* phase = stay.place == Stay::Place::first ? "s" : stay.place == Stay::Place::last ? "f" : "t";
  list.add(fmt::format(R"({{"ph":"{}","bp":"e","cat":"journey","name":"journey","id":"0x{}",{}}})", phase,
                       model::journey_text(stay.event->journey), where));
}

}  // namespace

Result<PerfettoCount> write_perfetto(std::ostream& out, std::span<const Journey> journeys,
                                     std::chrono::nanoseconds wall_clock_offset) {
  const auto offset_ns = static_cast<std::uint64_t>(wall_clock_offset.count());
  PerfettoCount count;
  EventList list(out);
  list.add(
      fmt::format(R"({{"ph":"M","name":"process_name","pid":{},"args":{{"name":"journeys"}}}})", kJourneysProcess));
  std::vector<Stay> stays;
  for (const Journey& journey : journeys) {
    if (journey.events.empty() || journey.id == 0) continue;
    add_journey(list, journey, add_stays(journey, offset_ns, stays), offset_ns);
    ++count.journeys;
  }
  std::ranges::stable_sort(stays, {}, &Stay::begin_ns);
  Lanes lanes;
  for (const Stay& stay : stays) {
    add_stay(list, stay, lanes.place(stay));
    ++count.slices;
    if (!out) break;
  }
  for (const std::string& name : lanes.names()) list.add(name);
  list.end();
  out.flush();
  if (!out)
    return fail(Errc::failed,
                fmt::format("writing the trace failed after {} of {} events", count.slices, stays.size()));
  return count;
}

}  // namespace weir::exporter
