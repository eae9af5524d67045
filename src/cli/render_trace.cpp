#include "cli/render_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "base/units.h"
#include "model/packet.h"
#include "model/trace_json.h"

namespace weir::cli {

namespace {

// Changes that happen at nearly every hook and explain nothing by themselves.
constexpr std::array<std::string_view, 11> kUsual{"len",     "hash",    "napi_id",  "ip_summed", "dev", "netns",
                                                  "eth_src", "eth_dst", "protocol", "length",    "iif"};

std::string value_text(const nlohmann::ordered_json& value) {
  if (value.is_null()) return "none";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string changes_text(const model::FieldChanges& changes, bool verbose) {
  std::string text;
  for (const auto& [field, values] : changes) {
    if (!verbose && std::ranges::find(kUsual, field) != kUsual.end()) continue;
    // A mark of 0 that a packet begins with is no news, a connection that it got is.
    text += fmt::format("  {} {} -> {}", field, value_text(values.first), value_text(values.second));
  }
  return text;
}

std::string fib_text(const model::FibLookup& fib) {
  if (fib.error != 0) {
    const char* meaning = fib.error == -ENETUNREACH    ? " (no route)"
                          : fib.error == -EHOSTUNREACH ? " (unreachable)"
                          : fib.error == -EINVAL       ? " (blackhole)"
                          : fib.error == -EACCES       ? " (prohibited)"
                          : fib.error == -EAGAIN       ? " (not in this table)"
                                                       : "";
    return fmt::format("  {} table {}: error {}{}", fib.dst, fib.table, fib.error, meaning);
  }
  return fmt::format("  {} table {}{}{}", fib.dst, fib.table,
                     fib.gateway.empty() ? std::string(" on link") : " via " + fib.gateway,
                     fib.oif == 0 ? std::string() : fmt::format(" by if{}", fib.oif));
}

/// include/net/tcp_states.h
std::string states_text(std::int64_t result) {
  constexpr std::array<std::string_view, 13> kStates{
      "?",     "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",   "TIME_WAIT",
      "CLOSE", "CLOSE_WAIT",  "LAST_ACK", "LISTEN",   "CLOSING",   "NEW_SYN_RECV"};
  const auto name = [&](std::int64_t state) { return kStates[state < 13 ? static_cast<std::size_t>(state) : 0]; };
  return fmt::format("  {} -> {}", name(result >> 8 & 0xff), name(result & 0xff));
}

std::string icmp_text(std::int64_t result) {
  return fmt::format("  sends ICMP type {} code {}", result >> 8, result & 0xff);
}

std::string xdp_text(const model::XdpOutcome& xdp) {
  std::string text = "  XDP " + xdp.action;
  if (xdp.program != 0) text += fmt::format(" of program {}", xdp.program);
  if (xdp.to != 0) text += fmt::format(" to {}", xdp.to);
  if (xdp.error != 0) text += fmt::format(": {}", std::generic_category().message(-xdp.error));
  if (xdp.sent != 0) text += fmt::format(", {} sent", xdp.sent);
  return text + (xdp.dropped == 0 ? "" : fmt::format(", {} dropped", xdp.dropped));
}

std::string nft_text(const model::NftVerdict& nft) {
  const std::string rule = nft.handle == 0 ? std::string() : fmt::format(" handle {}", nft.handle);
  return fmt::format("  {} {} {}{} {}: {}", nft.family, nft.table, nft.chain, rule, nft.type, nft.verdict);
}

std::string details(const model::TraceEvent& event) {
  std::string text;
  if (event.fib) text += fib_text(*event.fib);
  if (event.nft) text += nft_text(*event.nft);
  if (event.xdp) text += xdp_text(*event.xdp);
  if (event.drop) text += fmt::format("  {} at {}", event.drop->reason, event.drop->location);
  if (event.result) {
    if (event.hook.name == "sock:inet_sock_set_state") {
      text += states_text(*event.result);
    } else if (event.hook.name == "icmp:icmp_send") {
      text += icmp_text(*event.result);
    } else if (event.hook.name == "skb:skb_copy_datagram_iovec") {
      text += fmt::format("  {} bytes read", *event.result);
    } else if (event.hook.name == "neigh:neigh_event_send_done") {
      text += fmt::format("  waits for its neighbour's address, {} in the queue", *event.result);
    } else if (event.hook.name == "neigh:neigh_create") {
      text += "  no room for another neighbour: the table is full";
    } else if (*event.result != 0 && event.hook.name != "qdisc:qdisc_dequeue") {
      text += fmt::format("  returns {}", *event.result);
    }
  }
  return text;
}

std::string end_text(const model::Journey& journey) {
  for (const model::TraceEvent& event : journey.events) {
    if (journey.end != model::JourneyEnd::dropped || !event.drop || !event.last) continue;
    return fmt::format("dropped: {} at {}", event.drop->reason, event.drop->location);
  }
  switch (journey.end) {
    case model::JourneyEnd::unknown:
      return "end not seen";
    case model::JourneyEnd::arrived:
      return "arrived";
    case model::JourneyEnd::delivered:
      return "read by its program";
    case model::JourneyEnd::merged:
      return "merged into another packet by GRO";
    default:
      return model::to_string(journey.end);
  }
}

std::string paint(std::string text, const char* color, bool on) {
  return on ? fmt::format("\033[{}m{}\033[0m", color, text) : std::move(text);
}

std::string headline(const model::Journey& journey, const JourneyStyle& style) {
  std::string packet = "packet";
  for (const model::TraceEvent& event : journey.events) {
    if (!event.packet) continue;
    packet = model::to_text(model::dissect(*event.packet, event.skb.protocol));
    break;
  }
  const auto took = std::chrono::nanoseconds(journey.events.back().time_ns - journey.events.front().time_ns);
  const bool bad = journey.end == model::JourneyEnd::dropped;
  std::string line = fmt::format("#{:x}  {}\n      {}, {}", journey.id, paint(packet, "1", style.color),
                                 paint(end_text(journey), bad ? "31" : "32", style.color), format_duration(took));
  if (!journey.begins) line += ", its beginning was not seen";
  if (journey.lost_events != 0) line += fmt::format(", {} of its events were lost", journey.lost_events);
  return line + '\n';
}

std::string time_text(const model::TraceEvent& event, const JourneyStyle& style) {
  const auto utc = std::chrono::sys_time<std::chrono::nanoseconds>(
      std::chrono::nanoseconds(static_cast<std::int64_t>(event.time_ns)) + style.wall_offset);
  return format_utc(utc).substr(11, 15);
}

/// An event that is of no packet: a line of its own.
std::string render_alone(const model::TraceEvent& event, const JourneyStyle& style) {
  return fmt::format("{}  {}  {}{}\n", time_text(event, style), model::to_string(event.device),
                     short_hook(event.hook.name), paint(details(event), "31", style.color));
}

std::string offset_text(const model::TraceEvent& event, const model::Journey& journey, const JourneyStyle& style) {
  if (&event == &journey.events.front()) return time_text(event, style);
  const std::uint64_t since = event.time_ns - journey.events.front().time_ns;
  return "+" + format_duration(std::chrono::nanoseconds(since));
}

}  // namespace

std::string_view short_hook(std::string_view name) {
  if (name.starts_with("nf:") || name.starts_with("nft:") || name.starts_with("tcx:")) return name;
  const std::size_t colon = name.find(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

std::string render_journey(const model::Journey& journey, const JourneyStyle& style) {
  if (journey.events.empty()) return {};
  if (journey.id == 0) return render_alone(journey.events.front(), style);
  std::string text = headline(journey, style);
  std::size_t device_width = 0;
  for (const model::TraceEvent& event : journey.events) {
    device_width = std::max(device_width, model::to_string(event.device).size());
  }
  model::JourneyState state;
  std::string owner;
  for (const model::TraceEvent& event : journey.events) {
    const model::FieldChanges changes = state.advance(event);
    std::string flags;
    if (event.clone) flags += " (clone)";
    if (event.branch != 0) flags += fmt::format(" (part {})", event.branch);
    // A packet that passes the host is nobody's for a while: said again only where it is somebody else's.
    std::string whose;
    if (!event.workload.empty() && (style.verbose || event.workload != owner)) {
      whose = fmt::format("  of {}", printable(event.workload));
      owner = event.workload;
    }
    text += fmt::format("  {:>16}  {:<{}}  {:<22}{}{}{}{}", offset_text(event, journey, style),
                        model::to_string(event.device), device_width, short_hook(event.hook.name), flags, whose,
                        details(event), paint(changes_text(changes, style.verbose), "33", style.color));
    if (style.verbose) {
      text += fmt::format("  [cpu {} skb {:x} len {} queue_mapping {}]", event.cpu, event.skb.address, event.skb.len,
                          event.skb.queue_mapping);
    }
    while (text.ends_with(' ')) text.pop_back();
    text += '\n';
    for (const std::string& frame : event.stack) text += fmt::format("  {:>16}    {}\n", "", frame);
  }
  return text;
}

std::string render_summary(const model::TraceSummary& summary, bool verbose) {
  const model::HookAccount total = summary.total();
  std::string text = fmt::format(
      "seen {} = emitted {} + filtered {} + sampled out {} + lost {}; {} journeys, {} complete\n", total.seen,
      total.emitted, total.filtered, total.sampled_out, total.lost, summary.journeys, summary.journeys_complete);
  for (const auto& [name, account] : summary.hooks) {
    if (account.seen == 0 || (!verbose && account.lost == 0)) continue;
    text += fmt::format("  {:<32} seen {} emitted {} filtered {} sampled out {} lost {}\n", name, account.seen,
                        account.emitted, account.filtered, account.sampled_out, account.lost);
  }
  if (total.missed != 0) {
    text += fmt::format(
        "  {} of the lost came while the same program was interrupted on their CPU, where the kernel leaves them out\n",
        total.missed);
  }
  if (total.lost > total.missed) text += "  next: a narrower filter, --sample N, or a larger --ring\n";
  for (const std::string& note : summary.notes) text += "  note: " + note + '\n';
  return text;
}

}  // namespace weir::cli
