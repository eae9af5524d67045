#include <nlohmann/json.hpp>

#include "model/trace_json.h"
#include "model/trace_words.h"

namespace weir::model {

namespace {

using Json = nlohmann::ordered_json;

template <class T>
void note(FieldChanges& changes, const char* field, const T& before, const T& now) {
  if (before != now) changes[field] = {Json(before), Json(now)};
}

Json field_json(const FieldValue& value) {
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return *number;
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return {};
}

Json vlan_id(const std::optional<std::uint16_t>& tci) {
  return tci ? Json(*tci & 0x0FFFU) : Json();
}
Json vlan_priority(const std::optional<std::uint16_t>& tci) {
  return tci ? Json(*tci >> 13U) : Json();
}

}  // namespace

void JourneyState::compare_skb(const SkbFields& now, FieldChanges& changes) const {
  note(changes, "queue_mapping", skb_.queue_mapping, now.queue_mapping);
  note(changes, "mark", skb_.mark, now.mark);
  note(changes, "hash", skb_.hash, now.hash);
  note(changes, "priority", skb_.priority, now.priority);
  note(changes, "len", skb_.len, now.len);
  note(changes, "gso_segs", skb_.gso_segs, now.gso_segs);
  note(changes, "gso_size", skb_.gso_size, now.gso_size);
  note(changes, "protocol", skb_.protocol, now.protocol);
  note(changes, "vlan", vlan_id(skb_.vlan_tci), vlan_id(now.vlan_tci));
  if (skb_.vlan_tci && now.vlan_tci) {
    note(changes, "vlan_priority", vlan_priority(skb_.vlan_tci), vlan_priority(now.vlan_tci));
  }
  note(changes, "napi_id", skb_.napi_id, now.napi_id);
  note(changes, "ip_summed", std::string(checksum_text(skb_.ip_summed)), std::string(checksum_text(now.ip_summed)));
}

void JourneyState::compare_place(const DeviceRef& now, FieldChanges& changes) {
  if (now.netns.id != 0) {
    if (netns_.id != 0 && netns_ != now.netns) changes["netns"] = {Json(netns_.name), Json(now.netns.name)};
    netns_ = now.netns;
  }
  if (now.ifindex.value != 0) {
    // Devices of two namespaces may have one name; then the namespace is what changed.
    if (device_.ifindex.value != 0) note(changes, "dev", device_.name, now.name);
    device_ = now;
  } else if (now.netns.id != 0 && device_.netns != now.netns) {
    device_ = now;
  }
}

void JourneyState::compare_ct(const Conntrack& now, FieldChanges& changes) {
  if (ct_) {
    note(changes, "ct_state", ct_->state, now.state);
    note(changes, "ct_mark", ct_->mark, now.mark);
    note(changes, "ct_zone", ct_->zone, now.zone);
  } else if (started_) {
    changes["ct_state"] = {Json(), Json(now.state)};
  }
  ct_ = now;
}

FieldChanges JourneyState::advance(const TraceEvent& event) {
  FieldChanges changes;
  if (started_ && !event.beside) compare_skb(event.skb, changes);
  compare_place(event.device, changes);
  if (event.ct) compare_ct(*event.ct, changes);
  if (event.packet) {
    Packet now = dissect(*event.packet, event.skb.protocol);
    if (packet_) {
      for (const FieldChange& change : packet_changes(*packet_, now)) {
        changes[change.field] = {field_json(change.before), field_json(change.after)};
      }
    }
    packet_ = std::move(now);
    bytes_ = event.packet;
  }
  if (!event.beside) skb_ = event.skb;
  started_ = true;
  return changes;
}

FieldChanges field_changes(const TraceEvent& before, const TraceEvent& now) {
  JourneyState state;
  state.advance(before);
  return state.advance(now);
}

}  // namespace weir::model
