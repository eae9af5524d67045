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

std::string ends_text(const model::Connection& one) {
  if (!one.initiator_workload && !one.responder_workload) return {};
  const auto name = [](const std::optional<model::WorkloadRef>& workload) {
    return workload ? printable(workload->name) : std::string("?");
  };
  return fmt::format("  {} > {}", name(one.initiator_workload), name(one.responder_workload));
}

std::string connection_row(const model::Connection& one, std::size_t width) {
  const std::string_view state = one.conntrack ? state_text(*one.conntrack) : std::string_view();
  std::string text =
      fmt::format("{:>14} {:>10} {:>10}  {:<5} {:<{}}  {:<11}  {:<8}",
                  format_bit_rate(one.to_responder.rate_bps + one.to_initiator.rate_bps),
                  bytes_text(static_cast<double>(one.to_responder.window.bytes)),
                  bytes_text(static_cast<double>(one.to_initiator.window.bytes)), protocol_text(one.initiator),
                  to_string(one.initiator), width, state, to_string(one.flow_class));
  text += ends_text(one);
  if (one.responder != one.initiator) text += fmt::format("  nat {}", to_string(one.responder));
  const auto tcp = one.to_responder.tcp ? one.to_responder.tcp : one.to_initiator.tcp;
  if (tcp && tcp->srtt_us != 0)
    text += fmt::format("  rtt {}", format_duration(std::chrono::microseconds(tcp->srtt_us)));
  std::uint32_t retransmits = 0;
  for (const model::ConnectionWay* way : {&one.to_responder, &one.to_initiator}) {
    if (way->tcp) retransmits += way->tcp->retransmits;
  }
  if (retransmits != 0) text += fmt::format("  {} retransmits", retransmits);
  std::string path;
  for (const model::DeviceRef& device : one.path) path += (path.empty() ? "  via " : ", ") + to_string(device);
  return text + path + '\n';
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

std::string render_connections(const std::vector<model::Connection>& connections, std::size_t limit) {
  if (connections.empty()) return "no packets\n";
  const std::size_t rows = std::min(limit, connections.size());
  std::size_t width = 10;
  for (std::size_t row = 0; row < rows; ++row) width = std::max(width, to_string(connections[row].initiator).size());
  std::string text = fmt::format("{:>14} {:>10} {:>10}  {:<5} {:<{}}  {:<11}  {}\n", "rate", "sent", "answered", "",
                                 "initiator > responder", width, "state", "class");
  for (std::size_t row = 0; row < rows; ++row) text += connection_row(connections[row], width);
  if (rows < connections.size()) {
    std::uint64_t rest = 0;
    for (std::size_t row = rows; row < connections.size(); ++row) rest += connections[row].bytes();
    text += fmt::format("{} more connections, {} in all\n", connections.size() - rows,
                        bytes_text(static_cast<double>(rest)));
  }
  return text;
}

std::string render_conntrack(const model::ConntrackAccount& account) {
  if (account.namespaces == 0 && account.unread.empty()) return "conntrack: no namespace tracks connections\n";
  std::string text = fmt::format("conntrack: {} namespaces, {} entries, from {}", account.namespaces, account.entries,
                                 to_string(account.rung));
  if (account.resyncs != 0) text += fmt::format(", read again {} times because events were lost", account.resyncs);
  if (account.not_kept != 0) text += fmt::format(", {} entries not kept", account.not_kept);
  text += '\n';
  for (const std::string& why : account.unread) text += fmt::format("  ! {}\n", printable(why));
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

std::string render_gaps(const std::vector<model::Finding>& findings) {
  std::string text;
  for (const model::Finding& finding : findings) {
    text += fmt::format("{}: {} ({}); {}; see {}\n", to_string(finding.severity), finding.title, finding.cause,
                        finding.fix.command.empty() ? finding.fix.advice : finding.fix.command + " has room for more",
                        finding.docs());
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
