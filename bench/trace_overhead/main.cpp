// trace_overhead: what `weir trace` costs a forwarded packet in its forms, with what other tools cost beside it.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "empty_hooks.h"
#include "empty_programs.h"
#include "exit_code.h"
#include "observe/trace/session.h"
#include "sys/signal.h"
#include "tools.h"
#include "trace_report.h"

namespace weir::bench {
namespace {

// No packet of the network has this port; the filter reads as far as it can to find out.
constexpr const char* kMatchesNothing = "udp port 7";

pid_t held_by_us(const void*) {
  return ::getpid();
}

/// Weir's own session without a reader: what is aggregated in the kernel needs none.
Variant session_variant(const std::string& name, const std::string& what, observe::TraceRequest request) {
  return {.name = name,
          .what = what,
          .attach = [request = std::move(request)]() mutable -> Result<std::shared_ptr<void>> {
            auto profile = observe::find_profile("default");
            if (!profile) return pass(std::move(profile));
            request.hooks = profile->hooks;
            auto session = observe::TraceSession::start(request);
            if (!session) return pass(std::move(session));
            return std::make_shared<observe::TraceSession>(*std::move(session));
          },
          .holder = held_by_us,
          .reader = {}};
}

Variant tool_variant(const Tool& tool, int netns_fd) {
  const auto pid_of = [](const void* owner) { return static_cast<const RunningTool*>(owner)->pid(); };
  return {.name = tool.name,
          .what = tool.what,
          .attach = [tool, netns_fd]() -> Result<std::shared_ptr<void>> {
            auto running = RunningTool::start(tool, netns_fd);
            if (!running) return pass(std::move(running));
            return std::make_shared<RunningTool>(*std::move(running));
          },
          .holder = tool.has_programs ? std::function<pid_t(const void*)>(pid_of) : nullptr,
          .reader = pid_of};
}

observe::TraceRequest filtered(const std::string& filter) {
  observe::TraceRequest request;
  request.filter = filter;
  return request;
}

observe::TraceRequest aggregated(bool paths, std::uint32_t watch_mask) {
  observe::TraceRequest request;
  request.events = false;
  request.paths = paths;
  request.watch_mask = watch_mask;
  return request;
}

std::vector<Variant> variants(const std::vector<Tool>& compared, int netns_fd) {
  const std::uint32_t queue_mapping = 1U << WEIR_WATCH_QUEUE_MAPPING;
  std::vector<Variant> all{
      {.name = "off",
       .what = "nothing attached",
       .attach = []() -> Result<std::shared_ptr<void>> { return std::shared_ptr<void>(); },
       .holder = {},
       .reader = {}},
      {.name = "empty-2",
       .what = "programs at two hooks that do nothing",
       .attach = []() -> Result<std::shared_ptr<void>> {
         auto floor = attach_empty_programs();
         if (!floor) return pass(std::move(floor));
         return std::make_shared<EmptyPrograms>(*std::move(floor));
       },
       .holder = {},
       .reader = {}},
      {.name = "empty-default",
       .what = "programs at the default hooks of weir trace that do nothing",
       .attach = []() -> Result<std::shared_ptr<void>> {
         auto profile = observe::find_profile("default");
         if (!profile) return pass(std::move(profile));
         auto floor = attach_empty_hooks(profile->hooks.tracepoints);
         if (!floor) return pass(std::move(floor));
         return std::make_shared<EmptyHooks>(*std::move(floor));
       },
       .holder = held_by_us,
       .reader = {}},
      session_variant("idle-filter",
                      fmt::format("weir trace at the default hooks, '{}' matches nothing", kMatchesNothing),
                      filtered(kMatchesNothing)),
      session_variant("paths", "weir trace --paths of every packet at the default hooks", aggregated(true, 0)),
      session_variant("watch", "weir trace --watch queue_mapping of every packet at the default hooks",
                      aggregated(false, queue_mapping))};
  for (const Tool& tool : compared) all.push_back(tool_variant(tool, netns_fd));
  return all;
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line)) {
    if (line.starts_with("model name")) return std::string(trim(line.substr(line.find(':') + 1)));
  }
  return "unknown processor";
}

struct Options {
  Plan plan;
  int searches = 3;
  std::string weir;
  std::vector<std::string> only;
  bool json = false;
};

template <class Named>
void keep_named(std::vector<Named>& all, const std::vector<std::string>& only) {
  if (only.empty()) return;
  std::erase_if(all,
                [&](const Named& one) { return one.name != "off" && std::ranges::find(only, one.name) == only.end(); });
}

Result<TraceReport> run(const Options& options, const sys::StopSignal& stop) {
  TraceReport report{.kernel = {}, .processor = processor_name(), .plan = options.plan, .series = {}, .lossless = {}};
  utsname system{};
  ::uname(&system);
  report.kernel = system.release;
  const auto network = ForwardNetwork::build();
  if (!network) return std::unexpected(network.error());
  std::vector<Tool> compared = tools(options.weir);
  keep_named(compared, options.only);
  std::vector<Variant> measured = variants(compared, network->router_fd());
  keep_named(measured, options.only);
  const auto stopped = [&stop] { return stop.requested(); };
  auto series = measure(*network, measured, options.plan, stopped);
  if (!series) return pass(std::move(series));
  report.series = *std::move(series);
  if (options.searches == 0) return report;
  std::erase_if(compared, [](const Tool& tool) { return !tool.records; });
  auto lossless =
      find_lossless(*network, compared, {.searches = options.searches, .seconds = 1, .cpu = options.plan.cpu}, stopped);
  if (!lossless) return pass(std::move(lossless));
  report.lossless = *std::move(lossless);
  return report;
}

int main_of(int argc, char** argv) {
  CLI::App app("What weir trace costs a forwarded packet, with tcpdump, bpftrace and perf beside it.");
  Options options;
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  options.weir = self.parent_path().parent_path() / "weir";
  app.add_option("--rounds", options.plan.rounds, "Rounds of every variant")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--packets", options.plan.packets, "Packets a round")
      ->check(CLI::Range(1000, 100'000'000))
      ->capture_default_str();
  app.add_option("--cpu", options.plan.cpu, "The CPU that sends and forwards")
      ->check(CLI::Range(0, 8191))
      ->capture_default_str();
  app.add_option("--searches", options.searches, "Searches for the rate without loss; 0: none")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  app.add_option("--only", options.only, "These variants only, and 'off'")->delimiter(',');
  app.add_option("--weir", options.weir, "The program that is measured")->capture_default_str();
  app.add_flag("--json", options.json, "One JSON document, weir.trace_overhead/1");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto stop = sys::StopSignal::install();
  const auto report = stop ? run(options, *stop) : Result<TraceReport>(std::unexpected(stop.error()));
  if (!report) {
    fmt::print(stderr, "trace_overhead: {}\n", report.error().message);
    if (!report.error().hint.empty()) fmt::print(stderr, "{}\n", report.error().hint);
    return exit_code(report.error());
  }
  fmt::print("{}", options.json ? to_json(*report) : to_text(*report));
  return 0;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  return weir::bench::main_of(argc, argv);
}
