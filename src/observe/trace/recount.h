// Packets counted from their records as the programs in the kernel count them while a trace runs. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "observe/trace/journeys.h"
#include "observe/trace/session.h"

namespace weir::observe {

/// Counts the places that packets come to, and the changes of fields between two hooks next to each other: what
/// TraceSession::paths() and changes() would have said of the same packets. Where records are missing nothing is
/// counted over the gap: what follows it hangs on a place that is not there (see build_paths()).
class Recount {
 public:
  /// `watch_mask`: 1 << enum weir_watch_field, as in TraceRequest.
  explicit Recount(std::uint32_t watch_mask) : watch_mask_(watch_mask) {}

  /// Takes a journey, or what came later of one that was taken before.
  Result<void> add(const RawJourney& journey);
  /// Whether a part of this journey was taken not long ago.
  [[nodiscard]] bool knows(std::uint64_t journey) const { return walks_.contains(journey); }

  [[nodiscard]] std::vector<PathPlace> paths() const;
  [[nodiscard]] std::vector<WatchedChange> changes() const;
  /// Records that are missing in the journeys.
  [[nodiscard]] std::uint64_t lost_steps() const { return lost_steps_; }
  /// Events by hook that stand beside a packet, or are of none, and count for nothing here.
  [[nodiscard]] const std::map<std::uint16_t, std::uint64_t>& beside() const { return beside_; }

 private:
  /// How far one sk_buff has come; the fields are those of struct tracked.
  struct Walk {
    std::uint64_t netns = 0;
    std::uint64_t seen_ns = 0;
    std::uint64_t path = 0;
    std::uint32_t ifindex = 0;
    std::uint32_t sequence = 0;  ///< of the next event
    std::uint16_t hook = 0;
    std::array<std::uint32_t, WEIR_WATCH_FIELDS> watched{};
  };
  /// By what segments find the packet that they were cut from: hash, namespace, device.
  using SegmentKey = std::tuple<std::uint32_t, std::uint64_t, std::uint32_t>;
  struct Walks {
    /// By branch. A packet that GRO put together again may be cut again: then numbers of branches come twice.
    std::map<std::uint16_t, std::vector<Walk>> branches;
    std::map<SegmentKey, std::uint64_t> cut_at;  ///< the place of the whole packet
  };
  /// Where a step leads from a place: everything that makes a place another one.
  struct Step {
    std::uint64_t before = 0;
    std::uint64_t netns = 0;
    std::uint32_t ifindex = 0;
    std::uint32_t flags = 0;
    std::uint16_t hook = 0;
    std::uint16_t detail = 0;
    auto operator<=>(const Step&) const = default;
  };

  Walks& walks_of(std::uint64_t journey);
  static Walk& walk_of(Walks& walks, const weir_trace_event& event);
  void take(Walks& walks, const weir_trace_event& event);
  void watch(Walk& walk, const weir_trace_event& event, bool after_gap);
  void step(Walk& walk, const weir_trace_event& event);
  void count_change(const Walk& walk, const weir_trace_event& event, std::uint32_t field, std::uint32_t after);
  std::uint64_t key_of(const Step& step);

  std::uint32_t watch_mask_;
  std::unordered_map<std::uint64_t, Walks> walks_;
  std::deque<std::uint64_t> order_;  ///< of the journeys in `walks_`, the oldest first
  std::map<Step, std::uint64_t> keys_;
  std::map<std::uint64_t, weir_path_node> nodes_;
  std::map<std::array<std::byte, sizeof(weir_watch_key)>, std::uint64_t> changes_;
  std::uint64_t lost_steps_ = 0;
  std::map<std::uint16_t, std::uint64_t> beside_;
};

}  // namespace weir::observe
