// The flows of the data plane in user space: windows of cumulative counters, and room for new flows.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "model/flow.h"
#include "observe/dataplane/dataplane.h"
#include "observe/flows/flow_keys.h"

namespace weir::observe {

/// When a flow that sends no more makes room for others. A flow is only ever taken out when it was silent: what a
/// concurrent packet adds in that very moment would be lost.
struct FlowRetirement {
  std::chrono::nanoseconds idle = std::chrono::seconds(60);
  /// After FIN or RST in TCP.
  std::chrono::nanoseconds closed = std::chrono::seconds(5);
  /// Instead of both while the table is more than three quarters full.
  std::chrono::nanoseconds crowded = std::chrono::seconds(1);
  /// Flows that have ended and are remembered until the window ends; of more than so many only the sum.
  std::size_t remembered = 262'144;
};

/// Where bytes of packets were counted that found no room.
struct FlowPlace {
  std::uint64_t netns = 0;
  std::uint32_t ifindex = 0;
  model::FlowDirection direction = model::FlowDirection::tx;
  auto operator<=>(const FlowPlace&) const = default;
};

/// Flows of one place that ended within the window and are no longer known one by one.
struct ForgottenFlows {
  std::uint64_t flows = 0;
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
  std::uint64_t extra_bytes = 0;
};

/// One flow over the window.
struct FlowRecord {
  weir_flow_count now{};       ///< cumulative; what was taken out of the kernel's table before is included
  weir_flow_count at_start{};  ///< the same when the window began; zeros for a flow that began since
  weir_flow_count retired{};   ///< what is in `now` and no longer in the kernel
  std::optional<weir_flow_nat> nat;
  std::uint64_t round = 0;  ///< of reading, that saw it last
  std::uint32_t rows = 0;   ///< that it has in the kernel's table
  bool gone = false;        ///< no longer in the kernel's table
  bool sketched = false;    ///< from the sketch of those that found no room: a lower bound
};

/// Counters of a row of the kernel's table at some moment; `first_ns` tells whether it still has the same flow.
struct FlowRowMark {
  std::uint64_t first_ns = 0;  ///< 0: the row was not in use
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
  std::uint64_t extra_packets = 0;
  std::uint64_t extra_bytes = 0;
};

/// Where a window began in a table that outlives its owner, and what was taken out of it since.
struct FlowBaseline {
  std::uint64_t round = 0;  ///< rows of this round and of those before have been taken out for good
  std::vector<FlowRowMark> rows;
  std::map<FlowPlace, weir_flow_overflow> overflows;
  std::unordered_map<weir_flow_id, weir_flow_count, FlowIdHash, FlowIdEqual> sketched;
  std::map<FlowPlace, ForgottenFlows> ended;
  /// The rows that were in use.
  [[nodiscard]] std::vector<std::uint32_t> marked() const;
};

class FlowTable {
 public:
  explicit FlowTable(const DataPlane& data_plane, const FlowRetirement& retirement = {})
      : data_plane_(&data_plane), retirement_(retirement) {}

  /// Called with the number of a round, and with all that was taken out since the window began, before the rows of that
  /// round are free for others.
  using TakeOut = std::function<Result<void>(std::uint64_t round, const std::map<FlowPlace, ForgottenFlows>& ended)>;
  /// From now on it is known where the window began, for whoever has the table next.
  void remember_for_others(TakeOut take_out);
  /// The window of the last owner goes on: to be called before the first refresh(), after remember_for_others().
  void continue_from(FlowBaseline baseline);
  [[nodiscard]] FlowBaseline baseline() const;

  /// Reads everything, and takes silent flows out of the kernel's table. `now`: CLOCK_MONOTONIC.
  Result<void> refresh(std::chrono::nanoseconds now);
  /// A window begins: with the counters of the last refresh().
  void begin_window();

  /// As of the last refresh(). Flows without a packet in the window are among them.
  [[nodiscard]] const std::unordered_map<weir_flow_id, FlowRecord, FlowIdHash, FlowIdEqual>& flows() const {
    return flows_;
  }
  /// Within the window.
  [[nodiscard]] std::map<FlowPlace, model::FlowCount> overflows() const;
  [[nodiscard]] const std::map<FlowPlace, ForgottenFlows>& forgotten() const { return forgotten_; }
  /// Bytes that were counted nowhere, since the data plane began.
  [[nodiscard]] std::uint64_t uncounted_bytes() const { return uncounted_; }
  [[nodiscard]] std::uint64_t events_lost() const { return events_lost_; }

 private:
  Result<void> read_flows();
  Result<void> read_overflows();
  Result<void> read_sketch();
  Result<void> retire(std::chrono::nanoseconds now);
  void take_out(const weir_flow_row& row, std::uint32_t index);
  void forget();

  const DataPlane* data_plane_;
  FlowRetirement retirement_;
  std::unordered_map<weir_flow_id, FlowRecord, FlowIdHash, FlowIdEqual> flows_;
  std::size_t in_kernel_ = 0;
  std::uint64_t round_ = 0;
  std::map<FlowPlace, weir_flow_overflow> overflows_;
  std::map<FlowPlace, weir_flow_overflow> overflows_at_start_;
  std::map<FlowPlace, ForgottenFlows> forgotten_;
  std::uint64_t uncounted_ = 0;
  std::uint64_t events_lost_ = 0;

  TakeOut take_out_;                ///< of a table that outlives this object; what follows is for that only
  std::vector<FlowRowMark> seen_;   ///< as of the last refresh
  std::vector<FlowRowMark> marks_;  ///< as of the beginning of the window
  std::map<FlowPlace, ForgottenFlows> ended_;
  std::optional<FlowBaseline> continued_;  ///< until the first refresh
};

}  // namespace weir::observe
