#include "cli/render_netns.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/units.h"

namespace weir::cli {

namespace {

/// The first words of a list, as many as fit, and how many more there are.
std::string few(const std::vector<std::string>& words, std::size_t width) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0 && text.size() + words[i].size() + 1 > width) return text + fmt::format(" +{}", words.size() - i);
    text += (i > 0 ? "," : "") + words[i];
  }
  return text.empty() ? "-" : text;
}

std::string age(std::chrono::nanoseconds span) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(span).count();
  if (seconds < 120) return fmt::format("{} s", std::max<std::int64_t>(seconds, 0));
  if (seconds < 120 * 60) return fmt::format("{} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} d", seconds / 86400);
}

std::string who(const model::NamespaceState& state) {
  std::vector<std::string> words;
  for (const model::ProcessRef& process : state.processes) {
    words.push_back(fmt::format("{}[{}]", process.comm, process.pid));
  }
  for (const model::ProcessRef& thread : state.threads) {
    words.push_back(fmt::format("thread {}[{}]", thread.comm, thread.pid));
  }
  for (const model::HolderRef& holder : state.holders) {
    words.push_back(fmt::format("{} of pid {}", holder.kind == "socket" ? "socket" : "fd", holder.pid));
  }
  if (words.empty()) return "-";
  std::string text = few(words, 32);
  const std::size_t more = state.pids.size() - std::min(state.pids.size(), state.processes.size());
  return more > 0 ? fmt::format("{} ({} in all)", text, state.pids.size()) : text;
}

std::string names(const model::NamespaceState& state) {
  std::vector<std::string> words = state.names;
  if (words.empty()) words.push_back(state.display);
  words.insert(words.end(), state.mounts.begin(), state.mounts.end());
  return few(words, 32);
}

using Row = std::array<std::string, 7>;

std::string table(const std::vector<Row>& rows) {
  std::array<std::size_t, 7> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace

std::string render_namespaces(const model::NamespaceList& list, std::chrono::sys_time<std::chrono::nanoseconds> now) {
  std::vector<Row> rows{{"NAMESPACE", "ID", "PROCESSES", "WORKLOAD", "DEVICES", "SOCKETS", "SINCE"}};
  for (const model::NamespaceState& state : list.namespaces) {
    rows.push_back({names(state), std::to_string(state.id), who(state),
                    state.workload && state.workload->kind != "process" ? state.workload->name : "-",
                    state.devices ? few(*state.devices, 24) : "?", state.sockets ? std::to_string(*state.sockets) : "?",
                    state.since ? fmt::format("{} ({})", age(now - *state.since), state.since_source) : "-"});
  }
  std::string text = table(rows);
  for (const std::string& line : list.hidden) text += "hidden: " + line + "\n";
  for (const std::string& line : list.unreadable) text += "not looked at: " + line + "\n";
  return text + fmt::format("\n{} namespace{}. Next: weir netns watch, weir netns exec NAME -- COMMAND\n",
                            list.namespaces.size(), list.namespaces.size() == 1 ? "" : "s");
}

std::string render_event(const model::NamespaceEvent& event) {
  const std::string time = format_utc(event.time);
  if (event.kind == "resync") return fmt::format("{}  resync   events were lost; what changed follows\n", time);
  std::string text = fmt::format("{}  {:<8} {}  id:{}", time, event.kind, event.name, event.id);
  if (event.names.size() > 1) text += fmt::format("  names {}", fmt::join(event.names, ","));
  return text + (event.existing ? "  (was there)\n" : "\n");
}

}  // namespace weir::cli
