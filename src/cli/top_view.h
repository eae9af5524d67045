// What `weir flows top` shows, and what its keys do. Pure: the terminal is LiveView's.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/connection.h"
#include "model/flow.h"

namespace weir::cli {

enum class TopSort : std::uint8_t { rate, bytes, packets, retransmits, srtt };

/// What the keys have chosen.
struct TopState {
  bool workloads = true;      ///< a line a workload; else a flow
  bool every_device = false;  ///< flows: on every device, instead of each byte once
  TopSort sort = TopSort::rate;
  bool least_first = false;
  bool paused = false;
  bool typing = false;  ///< the filter
  bool quit = false;
  std::string filter;

  /// Keys as a terminal sends them; those that mean nothing here (arrows, say) do nothing.
  void press(std::string_view keys);
};

/// A line of either view.
struct TopRow {
  std::string name;    ///< of the workload; empty: nobody known
  std::string detail;  ///< what else is shown
  std::string text;    ///< what the filter looks at, in lower case
  std::size_t flows = 1;
  std::size_t elephants = 0;
  double tx_bps = 0;  ///< of a flow: its rate
  double rx_bps = 0;
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;      ///< on the wire
  std::uint64_t retransmits = 0;  ///< within the window
  std::uint32_t srtt_us = 0;      ///< the longest; 0: no TCP socket of this host
};

/// One window as rows.
struct TopWindow {
  std::vector<TopRow> flows;       ///< each byte once
  std::vector<TopRow> every_flow;  ///< on every device
  std::vector<TopRow> ends;        ///< of connections: two each, the initiator's and the responder's
  std::string time;                ///< "12:34:56"
  std::chrono::nanoseconds length{};
  std::string ledger;
};

/// Differences of counters that go on from window to window.
template <class Key>
class TopDeltas {
 public:
  /// What came since the last window; of one that was not in it: all, if it began in this one.
  std::uint64_t of(const Key& key, std::uint64_t now, bool began) {
    next_[key] = now;
    const auto before = last_.find(key);
    if (before == last_.end()) return began ? now : 0;
    return now - std::min(now, before->second);
  }
  void end_window() { last_ = std::exchange(next_, {}); }

 private:
  std::map<Key, std::uint64_t> last_;
  std::map<Key, std::uint64_t> next_;
};

/// Makes rows of windows, one after the other: sockets count retransmits since they were opened.
class TopReader {
 public:
  TopWindow read(const model::FlowWindow& window, const std::vector<model::Connection>& connections);

 private:
  TopRow flow_row(const model::Flow& flow);
  void add_ends(const model::Connection& one, std::vector<TopRow>& ends);
  TopDeltas<model::FlowKey> of_flows_;
  TopDeltas<std::pair<std::uint64_t, bool>> of_connections_;  ///< by id, and whether sent by the initiator
};

/// The rows of the view that is chosen: filtered, a workload's added up, and sorted.
std::vector<TopRow> top_rows(const TopWindow& window, const TopState& state);

/// The screen without its last lines, for a terminal of so many rows.
std::string render_top(const TopWindow& window, const TopState& state, std::size_t rows);

/// The last lines: the filter that is being typed, or the keys, broken to that width.
std::string render_top_keys(const TopState& state, std::size_t columns);

}  // namespace weir::cli
