#include "reason/doctor/accounting.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/units.h"
#include "reason/doctor/thresholds.h"
#include "reason/doctor/words.h"

namespace weir::reason {

namespace {

using model::Finding;
using model::LedgerLine;
using model::Severity;
using thresholds::kLedgerTolerance;
using thresholds::kOverflowWarning;

constexpr std::uint64_t kRoomFactor = 4;
constexpr std::uint64_t kMostFlows = 4U << 20U;  // what --flows takes

double share_of(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string bytes_text(std::uint64_t bytes) {
  return format_count(static_cast<double>(bytes)) + "B";
}

std::vector<model::Evidence> evidence_of(const LedgerLine& line) {
  const auto fact = [](const char* what, auto value) {
    return model::Evidence{.what = what, .value = static_cast<double>(value), .unit = "bytes", .expected = {}};
  };
  return {fact("accounted", line.accounted_bytes), fact("overflow", line.overflow_bytes),
          fact("unattributed", line.unattributed_bytes()), fact("interface", line.interface_bytes)};
}

/// What the interface counted and nobody saw, where it is more than the moments of reading explain.
std::uint64_t not_seen(const LedgerLine& line) {
  const std::int64_t open = line.unattributed_bytes();
  if (open <= 0) return 0;
  const auto bytes = static_cast<std::uint64_t>(open);
  return bytes > line.moment_bytes && share_of(bytes, line.interface_bytes) > kLedgerTolerance ? bytes : 0;
}

Finding table_full(const model::FlowWindow& window, const LedgerLine& total) {
  std::map<model::DeviceRef, std::uint64_t> by_device;
  for (const LedgerLine& line : window.ledger.lines) {
    if (line.overflow_bytes != 0) by_device[line.device] += line.overflow_bytes;
  }
  Finding finding;
  finding.id = "accounting-gap";
  finding.cause = "table-full";
  for (const auto& [device, bytes] : by_device) {
    finding.culprits.push_back({.kind = model::EntityKind::dev,
                                .device = device,
                                .share = words::rounded(share_of(bytes, total.overflow_bytes))});
  }
  std::ranges::stable_sort(finding.culprits, std::ranges::greater{}, &model::Culprit::share);
  finding.subject_kind = model::EntityKind::dev;
  finding.subject = finding.culprits.front().device;
  const double share = share_of(total.overflow_bytes, total.accounted_bytes + total.overflow_bytes);
  finding.severity = share < kOverflowWarning ? Severity::info : Severity::warning;
  finding.title = fmt::format("{:.2f} % of the bytes ({}) belong to flows that found no room among {}", 100 * share,
                              bytes_text(total.overflow_bytes), window.table_flows);
  finding.mechanism =
      "a new flow is looked for room in 16 rows of the table; what finds none is counted by device only";
  finding.evidence = evidence_of(total);
  finding.confidence = thresholds::kMaxConfidence;
  const std::uint64_t room = std::min(kMostFlows, window.table_flows * kRoomFactor);
  if (room > window.table_flows) {
    finding.fix.command = fmt::format("weir flows list --flows {}", room);
  } else {
    finding.fix.advice = "watch fewer flows at a time: the table is as large as it can be";
  }
  return finding;
}

Finding bytes_not_seen(const LedgerLine& line, std::uint64_t bytes) {
  Finding finding;
  finding.id = "accounting-gap";
  finding.cause = "not-seen";
  finding.severity = Severity::warning;
  finding.subject_kind = model::EntityKind::dev;
  finding.subject = line.device;
  finding.title =
      fmt::format("{} counted {} ({:.2f} %) of {} that no flow has", to_string(line.device), bytes_text(bytes),
                  100 * share_of(bytes, line.interface_bytes), to_string(line.direction));
  finding.mechanism =
      "the interface counts where its driver does; flows are counted at net_dev_start_xmit and netif_receive_skb";
  finding.evidence = evidence_of(line);
  finding.confidence = words::rounded(std::min(thresholds::kMaxConfidence, 1 - share_of(line.moment_bytes, bytes)));
  finding.fix.advice = fmt::format(
      "see what takes packets past the stack: {} (prog/xdp), {} (hw-tc-offload), AF_XDP sockets, a flowtable in "
      "nftables",
      words::command_in(line.device.netns, "ip -d link show dev " + line.device.name),
      words::command_in(line.device.netns, "ethtool -k " + line.device.name));
  return finding;
}

}  // namespace

std::vector<Finding> find_accounting_gaps(const model::FlowWindow& window) {
  std::vector<Finding> findings;
  const LedgerLine total = window.ledger.total();
  if (total.overflow_bytes != 0) findings.push_back(table_full(window, total));
  std::vector<std::pair<std::uint64_t, Finding>> open;
  for (const LedgerLine& line : window.ledger.lines) {
    if (const std::uint64_t bytes = not_seen(line); bytes != 0) open.emplace_back(bytes, bytes_not_seen(line, bytes));
  }
  std::ranges::stable_sort(open, [](const auto& a, const auto& b) { return a.first > b.first; });
  for (auto& [bytes, finding] : open) findings.push_back(std::move(finding));
  return findings;
}

}  // namespace weir::reason
