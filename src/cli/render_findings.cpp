#include "cli/render_findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "base/text.h"
#include "base/units.h"

namespace weir::cli {

namespace {

using model::Finding;
using model::HostObservation;
using model::Severity;

constexpr std::size_t kColumns = 100;
constexpr std::size_t kLabelWidth = 13;
// The most that one finding may take: cause, kernel, culprits and changed stay above, fix and docs below.
constexpr std::size_t kMaxEvidence = 9;
constexpr std::size_t kMaxVanished = 5;
constexpr std::size_t kMaxCulprits = 3;
constexpr std::size_t kMaxNotes = 3;

std::string plural(std::size_t count, std::string_view word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

std::string paint(std::string_view text, std::string_view ansi, bool colour) {
  return colour ? fmt::format("\x1b[{}m{}\x1b[0m", ansi, text) : std::string(text);
}

std::string_view ansi_of(Severity severity) {
  switch (severity) {
    case Severity::critical:
      return "1;31";
    case Severity::warning:
      return "1;33";
    case Severity::info:
      break;
  }
  return "1;36";
}

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return text;
}

/// Words of `text`; a command between backticks is one word, so that it can be copied.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool in_command = false;
  for (const std::string_view part : split(text, ' ')) {
    if (in_command) {
      words.back() += " " + std::string(part);
    } else {
      words.emplace_back(part);
    }
    if (std::ranges::count(part, '`') % 2 == 1) in_command = !in_command;
  }
  return words;
}

/// `text` broken between words, continuation lines indented.
std::string wrapped(std::string_view text, std::size_t indent) {
  std::string out;
  std::size_t column = indent;
  for (const std::string& word : words_of(text)) {
    if (column > indent && column + 1 + word.size() > kColumns) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

std::string row(std::string_view label, std::string_view text) {
  return fmt::format("  {:<{}}{}\n", label, kLabelWidth - 2, wrapped(text, kLabelWidth));
}

/// A command: never broken, so that it can be copied.
std::string command_row(std::string_view label, std::string_view command) {
  return fmt::format("  {:<{}}{}\n", label, kLabelWidth - 2, command);
}

std::string number(double value, const std::string& unit) {
  if (unit == "pct") return fmt::format("{:.1f} %", value);
  const bool whole = std::abs(value - std::round(value)) < 1e-9;
  if (unit == "queues") return whole ? fmt::format("{:.0f}", value) : fmt::format("{:.2f}", value);
  if (unit == "pps") return format_count(value) + " packets/s";
  return whole && value < 1e4 ? fmt::format("{:.0f}", value) : format_count(value);
}

std::string evidence_rows(const std::vector<model::Evidence>& evidence) {
  std::size_t width = 0;
  const std::size_t shown = std::min(evidence.size(), kMaxEvidence);
  for (std::size_t i = 0; i < shown; ++i) width = std::max(width, evidence[i].what.size());
  std::string out;
  for (std::size_t i = 0; i < shown; ++i) {
    const model::Evidence& fact = evidence[i];
    const std::string expected = fact.expected ? fmt::format("  (even: {})", number(*fact.expected, fact.unit)) : "";
    out += fmt::format("  {:<{}}{:<{}}  {}{}\n", i == 0 ? "evidence" : "", kLabelWidth - 2, fact.what, width,
                       number(fact.value, fact.unit), expected);
  }
  return out;
}

std::string culprit_rows(const std::vector<model::Culprit>& culprits) {
  std::string out;
  for (std::size_t i = 0; i < std::min(culprits.size(), kMaxCulprits); ++i) {
    out += row(i == 0 ? "culprit" : "", fmt::format("{}  ({:.0f} % of the affected packets)",
                                                    to_string(culprits[i].device), 100 * culprits[i].share));
  }
  if (culprits.size() > kMaxCulprits) out += row("", fmt::format("and {} more", culprits.size() - kMaxCulprits));
  return out;
}

std::string finding_text(const Finding& finding, bool colour) {
  const std::string severity = upper(to_string(finding.severity));
  const std::size_t indent = severity.size() + 1;
  std::string out = paint(severity, ansi_of(finding.severity), colour) + " " +
                    paint(wrapped(finding.title, indent), "1", colour) + "\n";
  out +=
      row("finding", fmt::format("{}, cause {}, {:.0f} % sure", finding.id, finding.cause, 100 * finding.confidence));
  if (!finding.mechanism.empty()) out += row("kernel", finding.mechanism);
  out += culprit_rows(finding.culprits);
  if (!finding.changed_at.empty()) out += row("changed", finding.changed_at);
  out += evidence_rows(finding.evidence);
  for (std::size_t i = 0; i < std::min(finding.notes.size(), kMaxNotes); ++i) out += row("note", finding.notes[i]);
  if (!finding.fix.command.empty()) out += command_row("mend", paint(finding.fix.command, "1;32", colour));
  if (!finding.fix.undo.empty()) out += command_row("take back", finding.fix.undo);
  if (!finding.fix.advice.empty()) out += row("advice", finding.fix.advice);
  return out + row("more", finding.docs());
}

/// Devices of which packets were seen: what vanished at once is among those observed too.
std::vector<model::DeviceRef> judged(const HostObservation& observation) {
  const auto counted = [](const model::QueueCount& count) { return count.packets > 0; };
  std::vector<model::DeviceRef> devices;
  for (const model::DeviceObservation& device : observation.devices) {
    if (std::ranges::any_of(device.windows, [&](const model::QueueWindow& window) {
          return std::ranges::any_of(window.tx, counted) || std::ranges::any_of(window.rx, counted);
        })) {
      devices.push_back(device.device);
    }
  }
  return devices;
}

std::string scope(const HostObservation& observation) {
  const std::vector<model::DeviceRef> devices = judged(observation);
  std::set<std::uint64_t> namespaces;
  for (const model::DeviceRef& device : devices) namespaces.insert(device.netns.id);
  return fmt::format("{} watched, {} packets on {} in {}", format_duration(observation.duration),
                     format_count(static_cast<double>(observation.accounting.packets_seen)),
                     plural(devices.size(), "device"), plural(namespaces.size(), "namespace"));
}

std::string verdict(const HostObservation& observation, const std::vector<Finding>& findings, bool colour) {
  const std::string host = observation.config.hostname.empty() ? "this host" : observation.config.hostname;
  if (findings.empty() && (observation.accounting.packets_seen == 0 || judged(observation).empty())) {
    return fmt::format("Nothing to judge on {}: no packets were seen on a device that was watched ({}).\n", host,
                       scope(observation));
  }
  if (findings.empty()) {
    return fmt::format("{} on {}: transmit queues are used as they should be ({}).\n", paint("Healthy", "1;32", colour),
                       host, scope(observation));
  }
  std::string counts;
  for (const Severity severity : {Severity::critical, Severity::warning, Severity::info}) {
    const auto count = std::ranges::count(findings, severity, &Finding::severity);
    if (count == 0) continue;
    counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, to_string(severity));
  }
  return fmt::format("{} finding{} on {} ({}).\n", paint(counts, ansi_of(findings.front().severity), colour),
                     findings.size() == 1 ? "" : "s", host, scope(observation));
}

/// On a host where pods come and go this may be many.
std::string vanished_line(const HostObservation& observation) {
  std::string names;
  std::size_t count = 0;
  for (const model::DeviceObservation& seen : observation.devices) {
    if (!seen.vanished || ++count > kMaxVanished) continue;
    names += (names.empty() ? "" : ", ") + to_string(seen.device);
  }
  if (count == 0) return {};
  const std::string more = count > kMaxVanished ? fmt::format(" and {} more", count - kMaxVanished) : "";
  return fmt::format("Vanished meanwhile: {}{}\n", names, more);
}

}  // namespace

std::string render_findings(const HostObservation& observation, const std::vector<Finding>& findings, bool colour) {
  std::string out = verdict(observation, findings, colour);
  for (const Finding& finding : findings) out += "\n" + finding_text(finding, colour);
  const model::Accounting& accounting = observation.accounting;
  if (accounting.packets_lost + accounting.events_lost > 0) {
    out += fmt::format("\nNot counted: {} packets and {} events, for want of room.\n", accounting.packets_lost,
                       accounting.events_lost);
  }
  out += vanished_line(observation);
  for (const std::string& what : observation.config.unread) out += "Not looked at: " + what + "\n";
  return out;
}

}  // namespace weir::cli
