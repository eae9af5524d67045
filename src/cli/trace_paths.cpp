// --paths: the distinct ways that packets take, counted in the kernel or from a recording.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/render_paths.h"
#include "cli/render_trace.h"
#include "cli/trace.h"
#include "model/json.h"
#include "model/paths_json.h"
#include "observe/trace/paths.h"

namespace weir::cli {

namespace {

std::string page_title(const TraceOptions& options, const observe::TraceRequest& request) {
  const std::string what = request.filter.empty() ? std::string("all packets") : request.filter;
  return fmt::format("weir trace --paths: {}{}", what, options.netns.empty() ? "" : " from " + options.netns);
}

/// Lookups of routes and states of sockets are no places that packets come to.
void leave_out_what_is_beside(observe::HookChoice& hooks) {
  std::erase_if(hooks.tracepoints, [](std::uint16_t number) {
    const std::string name = observe::fixed_hook_name(number);
    return name.starts_with("fib:") || name.starts_with("fib6:") || name == "sock:inet_sock_set_state" ||
           name == "sock:sk_data_ready";
  });
}

Result<void> write_page(std::ofstream& file, const model::PathTree& tree, const TraceView& view,
                        const std::string& title) {
  file << render_paths_page(tree, title);
  file.close();
  if (!file) return fail(Errc::failed, fmt::format("--html {}: it could not be written", view.html));
  if (!view.json) fmt::print(stderr, "the picture is in {}\n", printable(view.html));
  return {};
}

}  // namespace

Result<std::ofstream> open_page(const TraceView& view) {
  std::ofstream file;
  if (view.html.empty()) return file;
  file.open(view.html, std::ios::trunc);
  if (!file) return fail(Errc::failed, fmt::format("--html {}: {}", view.html, std::strerror(errno)));
  return file;
}

Result<Exit> show_paths(const model::PathTree& tree, model::TraceSummary summary, const TraceView& view,
                        std::ofstream& page, const std::string& title) {
  summary.journeys = tree.packets();
  summary.journeys_complete = 0;
  for (const model::PacketPath& path : tree.paths) {
    summary.journeys_complete += path.end == model::JourneyEnd::unknown ? 0 : path.packets;
  }
  if (view.json) {
    std::cout << model::to_text(model::to_json(tree, summary)) << '\n';
  } else {
    std::cout << render_paths(tree, {.verbose = view.verbose, .color = isatty(STDOUT_FILENO) == 1}) << '\n'
              << render_summary(summary, view.verbose);
  }
  if (!view.html.empty()) {
    if (auto written = write_page(page, tree, view, title); !written) return pass(std::move(written));
  }
  return Exit::done;
}

Result<Exit> trace_paths(const TraceOptions& options, observe::TraceRequest request) {
  const auto duration = trace_duration(options);
  if (!duration) return std::unexpected(duration.error());
  auto page = open_page(options.view);
  if (!page) return pass(std::move(page));
  auto live = LiveNames::open(options.btf_path);
  if (!live) return pass(std::move(live));
  request.events = false;
  request.paths = true;
  leave_out_what_is_beside(request.hooks);
  const auto begin = std::chrono::steady_clock::now();
  auto session = observe::TraceSession::start(request);
  if (!session) return pass(std::move(session));
  fmt::print(stderr, "counting paths at {} hooks{}\n", session->hooks().size(), *duration ? "" : ", Ctrl-C ends it");
  const auto nothing = [](std::span<const std::byte>) {};
  if (auto ran = run_session(*session, *duration, nothing, [] { return false; }); !ran) return pass(std::move(ran));
  auto summary = summary_of(*session, std::chrono::steady_clock::now() - begin);
  if (!summary) return pass(std::move(summary));
  const auto places = session->paths();
  if (!places) return std::unexpected(places.error());
  const auto tree = observe::build_paths(*places, session->aggregates_lost().second, (*live)->names(session->hooks()));
  return show_paths(tree, *std::move(summary), options.view, *page, page_title(options, request));
}

}  // namespace weir::cli
