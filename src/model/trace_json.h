// Packet journeys as JSON: "weir.event/1" and "weir.trace_summary/1" (DESIGN section 4).
#pragma once

#include <chrono>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>

#include "model/packet.h"
#include "model/trace.h"

namespace weir::model {

/// What is other than before: the field and its old and new value, null where there was or is none.
using FieldChanges = std::map<std::string, std::pair<nlohmann::ordered_json, nlohmann::ordered_json>>;

/// The name of a journey: 16 hexadecimal digits.
std::string journey_text(std::uint64_t journey);

/// How one event differs from the one before it: metadata by the kernel's names ("queue_mapping", "mark", …), device
/// and namespace, connection ("ct_state") and the fields of packet_changes(). A device or a copy of the packet that one
/// of both does not have is no change; a connection that is there for the first time changes "ct_state" from null.
/// Along a journey use JourneyState, which remembers over events that do not repeat what they did not change.
FieldChanges field_changes(const TraceEvent& before, const TraceEvent& now);

/// What is known of a packet along its journey, because events carry headers and connection only where they changed.
class JourneyState {
 public:
  /// Takes the next event of the journey and says what it changed; the first one changes nothing.
  FieldChanges advance(const TraceEvent& event);
  /// The packet as it was last seen; nullptr before the first copy.
  [[nodiscard]] const Packet* packet() const { return packet_ ? &*packet_ : nullptr; }
  /// The bytes of that.
  [[nodiscard]] const std::optional<PacketBytes>& bytes() const { return bytes_; }
  /// The device at which it was last seen; ifindex 0: none yet, or none yet in the namespace that it is in now.
  [[nodiscard]] const DeviceRef& device() const { return device_; }
  [[nodiscard]] const std::optional<Conntrack>& ct() const { return ct_; }

 private:
  void compare_skb(const SkbFields& now, FieldChanges& changes) const;
  void compare_place(const DeviceRef& now, FieldChanges& changes);
  void compare_ct(const Conntrack& now, FieldChanges& changes);
  bool started_ = false;
  SkbFields skb_;
  DeviceRef device_;
  NetnsRef netns_;
  std::optional<Conntrack> ct_;
  std::optional<PacketBytes> bytes_;
  std::optional<Packet> packet_;
};

/// The "packet" of an event as a document.
nlohmann::ordered_json to_json(const Packet& packet);

/// "weir.event/1" as one line without its end: for streams, where making a document of each event would cost five times
/// as much. `packet` is what the headers are at this event, nullptr where they are unknown (JourneyState knows);
/// `wall_clock_offset` is what must be added to CLOCK_MONOTONIC to have UTC.
std::string event_line(const TraceEvent& event, const Packet* packet, const FieldChanges& changes,
                       std::chrono::nanoseconds wall_clock_offset);
/// The same as a document.
nlohmann::ordered_json to_json(const TraceEvent& event, const Packet* packet, const FieldChanges& changes,
                               std::chrono::nanoseconds wall_clock_offset);

/// The books of a hook, as in "weir.trace_summary/1" and in recordings.
nlohmann::ordered_json to_json(const HookAccount& account);

/// "weir.trace_summary/1".
nlohmann::ordered_json to_json(const TraceSummary& summary);

}  // namespace weir::model
