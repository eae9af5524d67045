// weir netns watch: names of namespaces as they come and go.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/units.h"
#include "cli/netns.h"
#include "cli/render_netns.h"
#include "cli/session.h"
#include "model/json.h"
#include "netns/registry.h"
#include "sys/clock.h"
#include "sys/signal.h"

namespace weir::cli {

namespace {

using Steady = std::chrono::steady_clock;

struct WatchOptions {
  bool json = false;
  bool anywhere = false;
  std::string span;
  std::string source = "best";
};

Result<netns::RegistrySource> parse_source(const std::string& word) {
  if (word == "best") return netns::RegistrySource::best;
  if (word == "mount-events") return netns::RegistrySource::mount_events;
  if (word == "mountinfo") return netns::RegistrySource::mountinfo;
  if (word == "directories") return netns::RegistrySource::directories;
  return fail(Errc::usage, "--source: '" + word + "' is no source",
              "one of best, mount-events, mountinfo, directories");
}

const char* word_of(netns::RegistryEvent::Kind kind) {
  switch (kind) {
    case netns::RegistryEvent::Kind::ready:
      return "ready";
    case netns::RegistryEvent::Kind::gone:
      return "gone";
    case netns::RegistryEvent::Kind::renamed:
      return "renamed";
    case netns::RegistryEvent::Kind::resync:
      break;
  }
  return "resync";
}

/// Prints, at once: others read this as it comes. False when nobody does any more.
bool print(const std::vector<netns::RegistryEvent>& events, bool json) {
  const auto now = sys::SystemClock().realtime();
  for (const netns::RegistryEvent& event : events) {
    const model::NamespaceEvent row{.kind = word_of(event.kind),
                                    .time = now,
                                    .id = event.id,
                                    .name = event.name,
                                    .names = event.names,
                                    .existing = event.existing};
    if (json) {
      std::cout << model::to_json(row).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
    } else {
      std::cout << render_event(row);
    }
  }
  return static_cast<bool>(std::cout << std::flush);
}

/// Until the registry has something, a stop was asked for, or the time is over. Whether to go on.
bool wait_for(const netns::Registry& registry, const sys::StopSignal& stop, std::optional<Steady::time_point> until) {
  pollfd signs[] = {{registry.fd(), POLLIN, 0}, {stop.fd(), POLLIN, 0}};
  int ms = -1;
  if (until) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*until - Steady::now()).count();
    if (left <= 0) return false;
    ms = static_cast<int>(std::min<std::int64_t>(left, 1'000'000'000));
  }
  ::poll(signs, std::size(signs), ms);
  return (signs[1].revents & POLLIN) == 0;
}

Result<Exit> run_watch(const WatchOptions& options) {
  std::optional<Steady::time_point> until;
  if (!options.span.empty()) {
    const auto span = duration_option(options.span, "--for");
    if (!span) return std::unexpected(span.error());
    if (*span > std::chrono::hours(24 * 365)) return fail(Errc::usage, "--for: at most a year");
    until = Steady::now() + *span;
  }
  const auto source = parse_source(options.source);
  if (!source) return std::unexpected(source.error());
  auto stop = sys::StopSignal::install();
  if (!stop) return pass(std::move(stop));
  netns::RegistryOptions request;
  request.source = *source;
  request.anywhere = options.anywhere;
  auto registry = netns::Registry::open(request);
  if (!registry) {
    Error error = std::move(registry).error();
    if (error.code == Errc::permission && error.hint.empty()) error.hint = "run as root (CAP_SYS_ADMIN)";
    return std::unexpected(std::move(error));
  }
  do {
    auto events = registry->wait(std::chrono::nanoseconds::zero());
    if (!events) return pass(std::move(events));
    if (!print(*events, options.json)) break;
  } while (wait_for(*registry, *stop, until));
  return Exit::done;
}

}  // namespace

void add_netns_watch(CLI::App& netns, Program& program) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* command = netns.add_subcommand("watch", "One line for each named namespace that comes, goes or is renamed");
  command->add_option("--for", options->span, "How long to watch (500ms, 10s, 5m; default until Ctrl-C)");
  command->add_flag("--anywhere", options->anywhere, "Namespaces mounted outside the usual directories too");
  command->add_option("--source", options->source,
                      "What tells of changes: best, mount-events, mountinfo, directories (default best)");
  add_json_option(*command, options->json);
  command->footer(
      "A name is ready once its file was opened and found to be a network namespace.\n\n"
      "Examples:\n  weir netns watch\n  weir netns watch --json --for 1m | jq -r 'select(.event == \"ready\").name'");
  command->callback([options, &program] { program.action = [options] { return run_watch(*options); }; });
}

}  // namespace weir::cli
