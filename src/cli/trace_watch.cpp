// --watch: between which two hooks fields of packets change, counted in the kernel or from a recording.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/render_trace.h"
#include "cli/trace.h"
#include "model/json.h"
#include "model/trace_json.h"

namespace weir::cli {

namespace {

/// By enum weir_watch_field.
constexpr std::array<const char*, WEIR_WATCH_FIELDS> kFields{"queue_mapping", "mark", "hash", "priority", "len",
                                                             "gso_segs",      "vlan", "dev",  "netns"};

struct NamedChange {
  const char* field = "";
  std::string from_hook;
  std::string to_hook;
  model::DeviceRef from;
  model::DeviceRef to;
  std::uint32_t before = 0;
  std::uint32_t after = 0;
  std::uint64_t packets = 0;
};

std::string hook_of(const observe::TraceNames& names, std::uint16_t number) {
  if (number == 0) return "before the first hook";
  const auto found = names.hooks.find(number);
  return found == names.hooks.end() ? fmt::format("hook#{}", number) : found->second;
}

std::vector<NamedChange> name_changes(const std::vector<observe::WatchedChange>& changes,
                                      const observe::TraceNames& names) {
  std::vector<NamedChange> named;
  for (const auto& [key, packets] : changes) {
    named.push_back({.field = kFields[std::min<std::uint32_t>(key.field, WEIR_WATCH_FIELDS - 1)],
                     .from_hook = hook_of(names, key.from_hook),
                     .to_hook = hook_of(names, key.to_hook),
                     .from = names.device(key.from_netns, key.from_ifindex),
                     .to = names.device(key.to_netns, key.to_ifindex),
                     .before = key.before,
                     .after = key.after,
                     .packets = packets});
  }
  std::ranges::sort(named, std::ranges::greater{}, &NamedChange::packets);
  return named;
}

void print_text(const std::vector<NamedChange>& changes, const model::TraceSummary& summary, bool verbose) {
  if (changes.empty()) std::cout << "none of these fields changed\n";
  std::size_t from_width = 4;
  std::size_t to_width = 2;
  const auto place = [](const model::DeviceRef& device, const std::string& hook) {
    return fmt::format("{} {}", model::to_string(device), hook);
  };
  for (const NamedChange& change : changes) {
    from_width = std::max(from_width, place(change.from, change.from_hook).size());
    to_width = std::max(to_width, place(change.to, change.to_hook).size());
  }
  if (!changes.empty()) {
    std::cout << fmt::format("{:>10}  {:<14}{:>10}    {:<10}  {:<{}}  {}\n", "packets", "field", "before", "after",
                             "after", from_width, "by");
  }
  for (const NamedChange& change : changes) {
    const bool shift = std::string_view(change.field) == "vlan";
    const auto value = [shift](std::uint32_t raw) {
      return shift ? (raw == 0 ? std::string("none") : std::to_string(raw - 1)) : std::to_string(raw);
    };
    std::cout << fmt::format("{:>10}  {:<14}{:>10} -> {:<10}  {:<{}}  {}\n", change.packets, change.field,
                             value(change.before), value(change.after), place(change.from, change.from_hook),
                             from_width, place(change.to, change.to_hook));
  }
  std::cout << '\n' << render_summary(summary, verbose);
}

nlohmann::ordered_json point_json(const model::DeviceRef& device, const std::string& hook) {
  return {{"hook", hook}, {"netns", device.netns.name}, {"dev", device.name}};
}

void print_json(const std::vector<NamedChange>& changes, const model::TraceSummary& summary) {
  nlohmann::ordered_json document{{"schema", "weir.trace_changes/1"}};
  document["changes"] = nlohmann::ordered_json::array();
  for (const NamedChange& change : changes) {
    document["changes"].push_back({{"field", change.field},
                                   {"from", point_json(change.from, change.from_hook)},
                                   {"to", point_json(change.to, change.to_hook)},
                                   {"before", change.before},
                                   {"after", change.after},
                                   {"packets", change.packets}});
  }
  document["summary"] = model::to_json(summary);
  std::cout << model::to_text(document) << '\n';
}

}  // namespace

Result<std::uint32_t> watch_mask(const std::string& fields) {
  std::uint32_t mask = 0;
  for (const std::string_view field : split(fields, ',')) {
    const auto* found = std::ranges::find(kFields, field);
    if (found == kFields.end()) {
      const std::vector<std::string> known(kFields.begin(), kFields.end());
      return fail(Errc::usage, fmt::format("--watch {}: no such field", field), suggest(field, known));
    }
    mask |= 1U << static_cast<unsigned>(found - kFields.begin());
  }
  return mask;
}

Exit show_changes(const std::vector<observe::WatchedChange>& changes, const observe::TraceNames& names,
                  const model::TraceSummary& summary, const TraceView& view) {
  const auto named = name_changes(changes, names);
  if (view.json)
    print_json(named, summary);
  else
    print_text(named, summary, view.verbose);
  return Exit::done;
}

Result<Exit> trace_changes(const TraceOptions& options, observe::TraceRequest request) {
  const auto duration = trace_duration(options);
  if (!duration) return std::unexpected(duration.error());
  auto live = LiveNames::open(options.btf_path);
  if (!live) return pass(std::move(live));
  request.events = false;
  const auto begin = std::chrono::steady_clock::now();
  auto session = observe::TraceSession::start(request);
  if (!session) return pass(std::move(session));
  fmt::print(stderr, "watching at {} hooks{}\n", session->hooks().size(), *duration ? "" : ", Ctrl-C ends it");
  const auto nothing = [](std::span<const std::byte>) {};
  if (auto ran = run_session(*session, *duration, nothing, [] { return false; }); !ran) return pass(std::move(ran));
  auto summary = summary_of(*session, std::chrono::steady_clock::now() - begin);
  if (!summary) return pass(std::move(summary));
  if (const auto lost = session->aggregates_lost().first; lost != 0) {
    summary->notes.push_back(fmt::format("{} changes found no room to be counted", lost));
  }
  const auto changes = session->changes();
  if (!changes) return std::unexpected(changes.error());
  return show_changes(*changes, (*live)->names(session->hooks()), *summary, options.view);
}

}  // namespace weir::cli
