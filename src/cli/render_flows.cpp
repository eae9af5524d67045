#include "cli/render_flows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "base/units.h"

namespace weir::cli {

namespace {

std::string bytes_text(double bytes) {
  return format_count(bytes) + "B";
}

/// The connection as its far end sees it.
std::string nat_text(const model::FlowNat& nat) {
  return fmt::format("  nat {}", to_string(nat.reply.reversed()));
}

std::string flow_row(const model::Flow& flow, std::size_t device_width, std::size_t tuple_width) {
  std::string text = fmt::format(
      "{:>14} {:>10} {:>9}  {:<2} {:<{}}  {:<5} {:<{}}  {:<8}", format_bit_rate(flow.rate_bps),
      bytes_text(static_cast<double>(flow.window.bytes)), format_count(static_cast<double>(flow.window.wire_packets)),
      to_string(flow.key.direction), to_string(flow.device), device_width, protocol_text(flow.key.tuple),
      to_string(flow.key.tuple), tuple_width, to_string(flow.flow_class));
  if (flow.workload) text += "  " + printable(flow.workload->name);
  if (flow.key.vlan != 0) text += fmt::format("  vlan {}", flow.key.vlan);
  if (flow.nat && flow.nat->rewrites()) text += nat_text(*flow.nat);
  if (flow.tcp && flow.tcp->srtt_us != 0) {
    text += fmt::format("  rtt {}", format_duration(std::chrono::microseconds(flow.tcp->srtt_us)));
  }
  if (flow.tcp && flow.tcp->retransmits != 0) text += fmt::format("  {} retransmits", flow.tcp->retransmits);
  while (text.ends_with(' ')) text.pop_back();
  return text + '\n';
}

double share_of(std::int64_t part, std::uint64_t whole) {
  return whole == 0 ? (part == 0 ? 0 : 1) : std::abs(static_cast<double>(part)) / static_cast<double>(whole);
}

std::string account_text(const model::LedgerLine& line) {
  return fmt::format("accounted {} + overflow {} + unattributed {} = interface {} bytes", line.accounted_bytes,
                     line.overflow_bytes, line.unattributed_bytes(), line.interface_bytes);
}

}  // namespace

std::string render_flows(const model::FlowWindow& window, std::size_t limit) {
  if (window.flows.empty()) return "no packets\n";
  const std::size_t rows = std::min(limit, window.flows.size());
  std::size_t device_width = 6;
  std::size_t tuple_width = 4;
  for (std::size_t row = 0; row < rows; ++row) {
    device_width = std::max(device_width, to_string(window.flows[row].device).size());
    tuple_width = std::max(tuple_width, to_string(window.flows[row].key.tuple).size());
  }
  std::string text = fmt::format("{:>14} {:>10} {:>9}  {:<2} {:<{}}  {:<5} {:<{}}  {}\n", "rate", "bytes", "packets",
                                 "", "device", device_width, "", "flow", tuple_width, "class");
  for (std::size_t row = 0; row < rows; ++row) text += flow_row(window.flows[row], device_width, tuple_width);
  if (rows < window.flows.size()) {
    std::uint64_t rest = 0;
    for (std::size_t row = rows; row < window.flows.size(); ++row) rest += window.flows[row].window.bytes;
    text +=
        fmt::format("{} more flows, {} in all\n", window.flows.size() - rows, bytes_text(static_cast<double>(rest)));
  }
  return text;
}

std::string render_ledger(const model::FlowWindow& window, bool verbose, double tolerance) {
  const model::LedgerLine total = window.ledger.total();
  std::int64_t open = 0;
  for (const model::LedgerLine& line : window.ledger.lines) open += std::abs(line.unattributed_bytes());
  std::string text = fmt::format("ledger: accounted {} + overflow {} bytes, interfaces {}, {} unexplained ({:.3f} %)\n",
                                 total.accounted_bytes, total.overflow_bytes, total.interface_bytes, open,
                                 100 * share_of(open, total.interface_bytes));
  for (const model::LedgerLine& line : window.ledger.lines) {
    const bool closes = share_of(line.unattributed_bytes(), line.interface_bytes) <= tolerance;
    if (closes && !verbose) continue;
    text += fmt::format("  {} {} {}: {}\n", closes ? "  " : "! ", to_string(line.direction), to_string(line.device),
                        account_text(line));
  }
  return text;
}

std::string render_flow_event(const model::FlowEvent& event, const model::DeviceRef& device,
                              std::chrono::nanoseconds wall_clock_offset) {
  const auto time = std::chrono::sys_time<Nanoseconds>(event.time + wall_clock_offset);
  return fmt::format(
      "{}  {:<8}  {} {}  {:<5} {}  {} so far{}\n", format_utc(time).substr(11, 15), to_string(event.kind),
      to_string(event.key.direction), to_string(device), protocol_text(event.key.tuple), to_string(event.key.tuple),
      bytes_text(static_cast<double>(event.bytes)), event.rate_bps > 0 ? ", " + format_bit_rate(event.rate_bps) : "");
}

}  // namespace weir::cli
