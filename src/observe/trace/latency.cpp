#include "observe/trace/latency.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "model/packet.h"
#include "observe/trace/bpf/trace_hooks.h"

namespace weir::observe {

namespace {

/// A bracket of netfilter: "nf:PRE_ROUTING:first".
struct Bracket {
  std::string_view hook;
  bool is_first = false;  ///< stands before everything else at this hook
  bool is_last = false;
};

std::optional<Bracket> bracket_of(const model::TraceEvent& event) {
  std::string_view name = event.hook.name;
  if (!name.starts_with("nf:")) return std::nullopt;
  name.remove_prefix(3);
  const std::size_t colon = name.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view slot = name.substr(colon + 1);
  return Bracket{name.substr(0, colon), slot == "first", slot == "last"};
}

bool is_lookup(const model::TraceEvent& event) {
  return event.hook.id == WEIR_HOOK_fib_table_lookup || event.hook.id == WEIR_HOOK_fib6_table_lookup;
}

bool begins_as_udp(const model::Journey& journey) {
  const auto copied = std::ranges::find_if(journey.events, [](const auto& event) { return event.packet.has_value(); });
  return copied != journey.events.end() && model::dissect(*copied->packet, copied->skb.protocol).udp.has_value();
}

struct Mark {
  std::uint64_t time_ns = 0;
  model::DeviceRef device;
};

}  // namespace

/// One branch of a journey, event by event: marks are where stretches have begun that have not ended yet.
class StretchLatency::Walk {
 public:
  Walk(StretchLatency& sums, bool is_udp) : sums_(sums), is_udp_(is_udp) {}

  /// The packet, or a clone of it that waits at a raw socket, is read. Long messages are in pieces: the first counts.
  void read(const model::TraceEvent& event) {
    if (last_ && !read_ && event.time_ns >= last_->time_ns) {
      sums_.count(model::Stretch::socket, {}, last_->device, event.time_ns - last_->time_ns);
    }
    read_ = true;
  }

  void step(const model::TraceEvent& event) {
    if (!first_) first_ = Mark{event.time_ns, event.device};
    if (const auto bracket = bracket_of(event)) step_bracket(event, *bracket);
    step_hook(event);
    last_ = Mark{event.time_ns, event.device.ifindex.value == 0 && last_ ? last_->device : event.device};
  }

  void finish() {
    if (first_ && last_ && last_->time_ns > first_->time_ns) end(model::Stretch::total, first_, last_->time_ns);
  }

 private:
  void step_bracket(const model::TraceEvent& event, const Bracket& bracket) {
    if (bracket.hook != nf_hook_) nf_begin_.reset();
    nf_hook_ = bracket.hook;
    if (bracket.is_first) nf_begin_ = Mark{event.time_ns, event.device};
    if (bracket.is_last) end(model::Stretch::netfilter, nf_begin_, event.time_ns, bracket.hook);
    if (bracket.hook == "PRE_ROUTING") {
      routing_ = Mark{event.time_ns, event.device};
      decided_ns_ = 0;
    } else {
      end_routing(event.time_ns);
    }
  }

  void step_hook(const model::TraceEvent& event) {
    switch (event.hook.id) {
      case WEIR_HOOK_net_dev_queue:
        end_routing(0);
        if (received_ && received_->device.netns == event.device.netns) {
          end(model::Stretch::forwarding, received_, event.time_ns);
        }
        queued_ = Mark{event.time_ns, event.device};
        break;
      case WEIR_HOOK_qdisc_enqueue:
        if (!queued_) queued_ = Mark{event.time_ns, event.device};
        break;
      case WEIR_HOOK_net_dev_start_xmit:
        if (queued_ && queued_->device == event.device) end(model::Stretch::qdisc, queued_, event.time_ns);
        sent_ = Mark{event.time_ns, event.device};
        break;
      case WEIR_HOOK_netif_rx:
      case WEIR_HOOK_napi_gro_receive_entry:
      case WEIR_HOOK_napi_gro_frags_entry:
        end(model::Stretch::driver, sent_, event.time_ns);
        waiting_ = Mark{event.time_ns, event.device};
        break;
      case WEIR_HOOK_netif_receive_skb:
        if (waiting_ && waiting_->device == event.device) end(model::Stretch::softirq, waiting_, event.time_ns);
        sent_.reset();
        received_ = Mark{event.time_ns, event.device};
        routing_ = received_;
        decided_ns_ = 0;
        break;
      case WEIR_HOOK_skb_copy_datagram_iovec:
        end_routing(0);
        read(event);
        break;
      case WEIR_HOOK_consume_skb:
        // A short UDP message is copied where no hook looks, and its packet freed right behind that.
        if (is_udp_ && received_ && !sent_) read(event);
        end(model::Stretch::driver, sent_, event.time_ns);
        end_routing(0);
        break;
      case WEIR_HOOK_kfree_skb:
        end_routing(0);
        break;
      default:
        if (is_lookup(event)) decided_ns_ = event.time_ns;
    }
  }

  /// The decision is the last lookup, or where there are brackets the first one behind PRE_ROUTING (`bracket_ns`).
  void end_routing(std::uint64_t bracket_ns) {
    const std::uint64_t decided = bracket_ns != 0 ? bracket_ns : decided_ns_;
    if (decided != 0) end(model::Stretch::routing, routing_, decided);
    routing_.reset();
  }

  void end(model::Stretch stretch, std::optional<Mark>& begin, std::uint64_t now_ns, std::string_view hook = {}) {
    if (begin && now_ns >= begin->time_ns) sums_.count(stretch, hook, begin->device, now_ns - begin->time_ns);
    begin.reset();
  }

  StretchLatency& sums_;
  std::optional<Mark> first_, last_, queued_, sent_, waiting_, received_, routing_, nf_begin_;
  std::string_view nf_hook_;  // of an event of the journey, which outlives the walk
  std::uint64_t decided_ns_ = 0;
  bool is_udp_ = false;
  bool read_ = false;
};

void StretchLatency::add(const model::Journey& journey) {
  if (journey.id == 0) return;
  const bool is_udp = begins_as_udp(journey);
  std::map<std::uint16_t, Walk> branches;
  for (const model::TraceEvent& event : journey.events) {
    Walk& walk = branches.try_emplace(event.branch, *this, is_udp).first->second;
    if (!event.clone)
      walk.step(event);
    else if (event.hook.id == WEIR_HOOK_skb_copy_datagram_iovec)
      walk.read(event);
  }
  for (auto& [branch, walk] : branches) walk.finish();
}

void StretchLatency::count(model::Stretch stretch, std::string_view hook, const model::DeviceRef& device,
                           std::uint64_t ns) {
  times_[{stretch, std::string(hook), device}].add(ns);
}

std::vector<model::StretchTimes> StretchLatency::times() const {
  std::vector<model::StretchTimes> rows;
  for (const auto& [key, time] : times_) {
    const auto& [stretch, hook, device] = key;
    rows.push_back({.stretch = stretch, .hook = hook, .device = device, .time = time});
  }
  std::ranges::stable_sort(rows, [](const model::StretchTimes& a, const model::StretchTimes& b) {
    if (a.stretch != b.stretch) return a.stretch < b.stretch;
    return a.time.quantile_ns(0.99) > b.time.quantile_ns(0.99);
  });
  return rows;
}

}  // namespace weir::observe
