#include "cli/top_view.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "base/text.h"
#include "base/units.h"

namespace weir::cli {

namespace {

constexpr char kEscape = '\033';
constexpr char kDelete = '\177';
/// Of a device's bytes, that may be unexplained before somebody is told; and of few bytes, so many.
constexpr double kTolerance = 0.001;
constexpr double kSmallestGapBytes = 4096;
constexpr std::string_view kNobody = "(not known)";

struct SortKey {
  char key;
  TopSort sort;
  const char* name;
};
constexpr std::array<SortKey, 5> kSortKeys{{{'r', TopSort::rate, "rate"},
                                            {'b', TopSort::bytes, "bytes"},
                                            {'n', TopSort::packets, "packets"},
                                            {'x', TopSort::retransmits, "retransmits"},
                                            {'s', TopSort::srtt, "srtt"}}};

const char* name_of(TopSort sort) {
  return std::ranges::find(kSortKeys, sort, &SortKey::sort)->name;
}

std::string lower(std::string text) {
  for (char& letter : text) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return text;
}

std::string words_of(const std::optional<model::WorkloadRef>& workload) {
  if (!workload) return std::string(kNobody);
  return fmt::format("{} {} {} {}", workload->kind, workload->name, workload->id, workload->pod);
}

/// Many processes have the same name.
std::string name_of(const std::optional<model::WorkloadRef>& workload) {
  if (!workload) return {};
  return printable(workload->kind == "process" ? workload->name + ' ' + workload->id : workload->name);
}

/// How many keys of a terminal's sequence ("ESC [ A") stand at the beginning; 0: none, a lone Escape for example.
std::size_t sequence_length(std::string_view keys) {
  if (keys.size() < 3 || keys[0] != kEscape || (keys[1] != '[' && keys[1] != 'O')) return 0;
  std::size_t end = 2;
  while (end < keys.size() && (keys[end] < '@' || keys[end] > '~')) ++end;
  return std::min(end + 1, keys.size());
}

void press_filter(TopState& state, char key) {
  if (key == '\n' || key == '\r') {
    state.typing = false;
  } else if (key == kEscape) {
    state.typing = false;
    state.filter.clear();
  } else if (key == kDelete || key == '\b') {
    if (!state.filter.empty()) state.filter.pop_back();
  } else if (static_cast<unsigned char>(key) >= ' ') {
    state.filter += key;
  }
}

void press_command(TopState& state, char key) {
  if (const auto* sort = std::ranges::find(kSortKeys, key, &SortKey::key); sort != kSortKeys.end()) {
    state.sort = sort->sort;
    return;
  }
  switch (key) {
    case 'w':
    case 'f':
      state.workloads = key == 'w';
      return;
    case '\t':
      state.workloads = !state.workloads;
      return;
    case 'i':
      state.least_first = !state.least_first;
      return;
    case 'a':
      state.every_device = !state.every_device;
      return;
    case 'p':
    case ' ':
      state.paused = !state.paused;
      return;
    case '/':
      state.typing = true;
      return;
    case kEscape:
      state.filter.clear();
      return;
    case 'q':
    case 'Q':
      state.quit = true;
      return;
    default:
      return;
  }
}

double sort_value(const TopRow& row, TopSort sort) {
  switch (sort) {
    case TopSort::rate:
      return row.tx_bps + row.rx_bps;
    case TopSort::bytes:
      return static_cast<double>(row.bytes);
    case TopSort::packets:
      return static_cast<double>(row.packets);
    case TopSort::retransmits:
      return static_cast<double>(row.retransmits);
    case TopSort::srtt:
      return row.srtt_us;
  }
  return 0;
}

void add_up(TopRow& sum, const TopRow& row) {
  sum.flows += row.flows;
  sum.elephants += row.elephants;
  sum.tx_bps += row.tx_bps;
  sum.rx_bps += row.rx_bps;
  sum.bytes += row.bytes;
  sum.packets += row.packets;
  sum.retransmits += row.retransmits;
  sum.srtt_us = std::max(sum.srtt_us, row.srtt_us);
}

std::string bytes_column(std::uint64_t bytes) {
  const std::string count = format_count(static_cast<double>(bytes));
  return count + (count.find(' ') == std::string::npos ? " B" : "B");
}

std::string srtt_column(std::uint32_t srtt_us) {
  return srtt_us == 0 ? "-" : format_duration(std::chrono::microseconds(srtt_us));
}

char mark_of(const TopRow& row) {
  return row.elephants != 0 ? '*' : ' ';
}

std::string heading(const TopState& state, std::size_t name_width) {
  if (state.workloads) {
    return fmt::format("  {:<{}}  {:>12} {:>12} {:>8} {:>7} {:>5} {:>7} {:>5} {:>5}\n", "workload", name_width, "sends",
                       "receives", "bytes", "packets", "retx", "srtt", "conns", "heavy");
  }
  return fmt::format("  {:>12} {:>8} {:>7} {:>5} {:>7}  {:<{}}  {}\n", "rate", "bytes", "packets", "retx", "srtt",
                     "workload", name_width, "flow");
}

std::string row_text(const TopRow& row, const TopState& state, std::size_t name_width) {
  const std::string name = row.name.empty() ? std::string(state.workloads ? kNobody : "-") : row.name;
  const std::string counts =
      fmt::format("{:>8} {:>7} {:>5} {:>7}", bytes_column(row.bytes), format_count(static_cast<double>(row.packets)),
                  row.retransmits, srtt_column(row.srtt_us));
  if (state.workloads) {
    return fmt::format("{} {:<{}}  {:>12} {:>12} {} {:>5} {:>5}\n", mark_of(row), name, name_width,
                       format_bit_rate(row.tx_bps), format_bit_rate(row.rx_bps), counts, row.flows, row.elephants);
  }
  return fmt::format("{} {:>12} {}  {:<{}}  {}\n", mark_of(row), format_bit_rate(row.tx_bps), counts, name, name_width,
                     row.detail);
}

std::string plural(std::size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string title(const TopWindow& window, const TopState& state, const std::vector<TopRow>& rows) {
  const std::string_view what = state.workloads ? "workloads" : state.every_device ? "flows on every device" : "flows";
  std::string text = fmt::format("{} UTC  {} by {}", window.time, what, name_of(state.sort));
  if (state.least_first) text += ", least first";
  if (!state.filter.empty()) text += fmt::format(", only \"{}\"", printable(state.filter));
  if (state.paused) text += ", PAUSED";
  text += "   " + plural(rows.size(), state.workloads ? "workload" : "flow");
  std::size_t elephants = 0;
  for (const TopRow& row : rows) elephants += row.elephants;
  // A connection's elephant has two ends.
  text += state.workloads ? " (* has elephants)" : fmt::format(", {} (*)", plural(elephants, "elephant"));
  return text + fmt::format(" in {}\n", format_duration(std::chrono::round<std::chrono::milliseconds>(window.length)));
}

/// One line, whatever happens. What the reading of two things at two moments can explain is not shouted about.
std::string ledger_text(const model::FlowWindow& window) {
  std::string open;
  std::size_t more = 0;
  for (const model::LedgerLine& line : window.ledger.lines) {
    const auto off = static_cast<double>(std::abs(line.unattributed_bytes()));
    const double most = std::max(kTolerance * static_cast<double>(line.interface_bytes), kSmallestGapBytes);
    if (off <= std::max(most, static_cast<double>(line.moment_bytes))) continue;
    if (open.empty())
      open = fmt::format("{} {} {}", to_string(line.direction), to_string(line.device),
                         bytes_column(static_cast<std::uint64_t>(off)));
    else
      ++more;
  }
  const model::LedgerLine total = window.ledger.total();
  return fmt::format("ledger: accounted {} + overflow {} of {} on the interfaces: {}\n",
                     bytes_column(total.accounted_bytes), bytes_column(total.overflow_bytes),
                     bytes_column(total.interface_bytes),
                     open.empty() ? "closes"
                     : more == 0  ? "OPEN by " + open
                                  : fmt::format("OPEN by {} and {} more", open, more));
}

}  // namespace

void TopState::press(std::string_view keys) {
  while (!keys.empty()) {
    if (const std::size_t skip = sequence_length(keys); skip != 0) {
      keys.remove_prefix(skip);
      continue;
    }
    if (typing)
      press_filter(*this, keys.front());
    else
      press_command(*this, keys.front());
    keys.remove_prefix(1);
  }
}

TopRow TopReader::flow_row(const model::Flow& flow) {
  TopRow row;
  row.name = name_of(flow.workload);
  row.detail = fmt::format("{} {}  {} {}", protocol_text(flow.key.tuple), to_string(flow.key.tuple),
                           to_string(flow.key.direction), to_string(flow.device));
  if (flow.key.vlan != 0) row.detail += fmt::format("  vlan {}", flow.key.vlan);
  if (flow.nat && flow.nat->rewrites()) row.detail += fmt::format("  nat {}", to_string(flow.nat->reply.reversed()));
  row.elephants = flow.flow_class == model::FlowClass::elephant ? 1 : 0;
  row.tx_bps = flow.rate_bps;
  row.bytes = flow.window.bytes;
  row.packets = flow.window.wire_packets;
  if (flow.tcp) {
    row.srtt_us = flow.tcp->srtt_us;
    row.retransmits = of_flows_.of(flow.key, flow.tcp->retransmits, flow.total == flow.window);
  }
  row.text = lower(fmt::format("{} {} {}", row.detail, words_of(flow.workload), to_string(flow.flow_class)));
  return row;
}

void TopReader::add_ends(const model::Connection& one, std::vector<TopRow>& ends) {
  TopRow row;
  row.elephants = one.flow_class == model::FlowClass::elephant ? 1 : 0;
  row.bytes = one.bytes();
  row.packets = one.to_responder.window.wire_packets + one.to_initiator.window.wire_packets;
  for (const model::ConnectionWay* way : {&one.to_responder, &one.to_initiator}) {
    if (!way->tcp) continue;
    row.srtt_us = std::max(row.srtt_us, way->tcp->srtt_us);
    row.retransmits +=
        of_connections_.of({one.id, way == &one.to_responder}, way->tcp->retransmits, way->total == way->window);
  }
  std::string words = fmt::format("{} {} {} {}", protocol_text(one.initiator), to_string(one.initiator),
                                  to_string(one.responder), to_string(one.flow_class));
  for (const model::DeviceRef& device : one.path) words += ' ' + to_string(device);
  for (const bool initiator : {true, false}) {
    const auto& workload = initiator ? one.initiator_workload : one.responder_workload;
    row.name = name_of(workload);
    row.tx_bps = initiator ? one.to_responder.rate_bps : one.to_initiator.rate_bps;
    row.rx_bps = initiator ? one.to_initiator.rate_bps : one.to_responder.rate_bps;
    row.text = lower(words_of(workload) + ' ' + words);
    ends.push_back(row);
  }
}

TopWindow TopReader::read(const model::FlowWindow& window, const std::vector<model::Connection>& connections) {
  TopWindow top;
  top.time = format_utc(window.start + window.duration).substr(11, 8);
  top.length = window.duration;
  top.ledger = ledger_text(window);
  for (const model::Flow& flow : window.flows) {
    top.every_flow.push_back(flow_row(flow));
    if (flow.connection && flow.connection->counted) top.flows.push_back(top.every_flow.back());
  }
  for (const model::Connection& one : connections) add_ends(one, top.ends);
  of_flows_.end_window();
  of_connections_.end_window();
  return top;
}

std::vector<TopRow> top_rows(const TopWindow& window, const TopState& state) {
  const std::string wanted = lower(state.filter);
  const auto& all = state.workloads ? window.ends : state.every_device ? window.every_flow : window.flows;
  std::vector<TopRow> rows;
  std::map<std::string, std::size_t> place;  // of a workload
  for (const TopRow& row : all) {
    if (row.text.find(wanted) == std::string::npos) continue;
    if (state.workloads) {
      const auto [known, first] = place.try_emplace(row.name, rows.size());
      if (!first) {
        add_up(rows[known->second], row);
        continue;
      }
    }
    rows.push_back(row);
  }
  const auto value = [&](const TopRow& row) { return sort_value(row, state.sort); };
  if (state.least_first)
    std::ranges::stable_sort(rows, std::less<>{}, value);
  else
    std::ranges::stable_sort(rows, std::greater<>{}, value);
  return rows;
}

std::string render_top(const TopWindow& window, const TopState& state, std::size_t rows) {
  const std::vector<TopRow> all = top_rows(window, state);
  std::string text = title(window, state, all) + window.ledger + '\n';
  const auto above = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  std::size_t shown = std::min(all.size(), rows > above ? rows - above : 0);
  if (shown < all.size() && shown > 0) --shown;  // for the line that says how many more there are
  std::size_t width = state.workloads ? kNobody.size() : 8;
  for (std::size_t row = 0; row < shown; ++row) width = std::max(width, all[row].name.size());
  text += heading(state, width);
  for (std::size_t row = 0; row < shown; ++row) text += row_text(all[row], state, width);
  if (all.empty())
    text += state.filter.empty() ? "  no packets\n" : "  nothing here has the filter's words; Esc clears it\n";
  if (shown < all.size()) text += fmt::format("  {} more\n", all.size() - shown);
  return text;
}

std::string render_top_keys(const TopState& state, std::size_t columns) {
  if (state.typing) return fmt::format("filter: {}_   (Enter keeps it, Esc clears it)\n", printable(state.filter));
  std::vector<std::string> keys{"q quit", "w workloads", "f flows", "a every device", "sort by:"};
  for (const SortKey& one : kSortKeys) keys.push_back(fmt::format("{} {}", one.key, one.name));
  for (const char* one : {"i invert", "/ filter", "p pause"}) keys.emplace_back(one);
  std::string text;
  std::size_t used = 0;
  for (const std::string& key : keys) {
    if (used != 0 && used + 2 + key.size() > columns) {
      text += '\n';
      used = 0;
    }
    if (used != 0) text += "  ";
    text += key;
    used += key.size() + 2;
  }
  return text + '\n';
}

}  // namespace weir::cli
