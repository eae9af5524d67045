// What the owner of a pinned table of flows must not take into its grave: where its window began, and what it took out
// of the table since.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "observe/flows/flow_table.h"
#include "observe/flows/interface_counters.h"

namespace weir::observe {

/// A window of a pinned table as it began, and what ended in it.
struct FlowHandover {
  std::chrono::nanoseconds began{};  ///< CLOCK_MONOTONIC
  std::chrono::sys_time<std::chrono::nanoseconds> began_at;
  FlowBaseline table;
  InterfaceCounts counters;  ///< the interfaces' own, when it began; without their kinds
};

/// Two files beside the pins, each replaced as a whole, so that a process that is killed leaves the last state that was
/// complete. They are of one boot and one build's layout, as the pins are, and not meant for anything else.
class FlowJournal {
 public:
  /// `side_file`, `id`: of PinNews.
  FlowJournal(std::string side_file, std::uint64_t id) : path_(std::move(side_file)), id_(id) {}

  /// What the last owner left, whose window goes on; nothing when there is nothing of these maps.
  Result<std::optional<FlowHandover>> read();
  /// A window began. What was taken out before is in it, and forgotten.
  Result<void> begin_window(const FlowHandover& window);
  /// Rows of this round (and of those before) are about to be freed; `ended` is what they and others held since the
  /// window began.
  Result<void> take_out(std::uint64_t round, const std::map<FlowPlace, ForgottenFlows>& ended);

 private:
  [[nodiscard]] std::string window_path() const { return path_ + "window"; }
  [[nodiscard]] std::string ended_path() const { return path_ + "ended"; }

  std::string path_;
  std::uint64_t id_;
  std::uint64_t window_ = 0;  ///< number of the one that runs
};

}  // namespace weir::observe
