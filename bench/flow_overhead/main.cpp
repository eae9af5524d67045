// flow_overhead: what it costs to account every flow, and how soon an elephant is told, with softflowd, pmacctd and
// bpftrace beside it.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/text.h"
#include "empty_programs.h"
#include "exit_code.h"
#include "flow_report.h"
#include "observe/dataplane/dataplane.h"
#include "peers.h"
#include "sys/signal.h"

namespace weir::bench {
namespace {

constexpr std::uint32_t kFlows = 65536;

pid_t held_by_us(const void*) {
  return ::getpid();
}

/// Of UDP in IPv4 to the measurement's ports.
Result<std::uint64_t> counted_by_weir(void* owner) {
  constexpr std::uint8_t kUdp = 17;
  std::uint64_t packets = 0;
  for (const weir_flow_row& row : static_cast<observe::DataPlane*>(owner)->flows().rows()) {
    const bool ours = row.state == WEIR_FLOW_LIVE && row.id.protocol == kUdp && row.id.destination_port >= 9000 &&
                      row.id.destination_port < 9256;
    if (ours) packets += row.count.packets;
  }
  return packets;
}

Variant weir_variant(const std::string& name, const std::string& what, const observe::DataPlane::Options& options) {
  return {.name = name,
          .what = what,
          .attach = [options]() -> Result<std::shared_ptr<void>> {
            auto plane = observe::DataPlane::start(options);
            if (!plane) return pass(std::move(plane));
            return std::make_shared<observe::DataPlane>(*std::move(plane));
          },
          .holder = held_by_us,
          .reader = {},
          .counted = counted_by_weir};
}

Variant peer_variant(const Tool& tool, int netns_fd) {
  Variant variant{.name = tool.name,
                  .what = tool.what,
                  .attach = [tool, netns_fd]() -> Result<std::shared_ptr<void>> {
                    auto running = RunningTool::start(tool, netns_fd);
                    if (!running) return pass(std::move(running));
                    return std::make_shared<RunningTool>(*std::move(running));
                  },
                  .holder = {},
                  .reader = [](const void* owner) { return static_cast<const RunningTool*>(owner)->pid(); },
                  .counted = [name = tool.name](void* owner) -> Result<std::uint64_t> {
                    std::this_thread::sleep_for(std::chrono::milliseconds(1200));  // span: until their buffers are read
                    const auto counted = static_cast<RunningTool*>(owner)->finish();
                    if (!counted) return std::unexpected(counted.error());
                    if (!*counted) return fail(Errc::failed, name + " does not say what it counted");
                    return **counted;
                  }};
  if (tool.has_programs) variant.holder = variant.reader;
  return variant;
}

std::vector<Variant> variants(const std::string& device, int netns_fd) {
  const std::string pins = fmt::format("/run/weir/bench-{}", ::getpid());
  std::vector<Variant> all{
      {.name = "off",
       .what = "nothing attached",
       .attach = []() -> Result<std::shared_ptr<void>> { return std::shared_ptr<void>(); },
       .holder = {},
       .reader = {}},
      {.name = "empty",
       .what = "programs at the same hooks that do nothing",
       .attach = []() -> Result<std::shared_ptr<void>> {
         auto floor = attach_empty_programs();
         if (!floor) return pass(std::move(floor));
         return std::make_shared<EmptyPrograms>(*std::move(floor));
       },
       .holder = {},
       .reader = {}},
      weir_variant("weir", "flows on every device, as weir flows has them",
                   {.sample_rate = 0, .queues = false, .flows = kFlows}),
      weir_variant("weir-pinned", "the same with --pin",
                   {.sample_rate = 0, .queues = false, .flows = kFlows, .pin_directory = pins}),
      weir_variant("weir-both", "queues, one packet in 64 examined, and flows", {.flows = kFlows})};
  for (const Tool& tool : flow_peers(device)) all.push_back(peer_variant(tool, netns_fd));
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
  Plan plan{.rounds = 7, .packets = 50'000, .cpu = 0};
  std::uint64_t requests = 20'480;
  int promotions = 256;
  std::string weir;
  std::vector<std::string> only;
  bool json = false;
};

std::vector<Variant> chosen(std::vector<Variant> all, const std::vector<std::string>& only) {
  if (only.empty()) return all;
  std::erase_if(
      all, [&](const Variant& one) { return one.name != "off" && std::ranges::find(only, one.name) == only.end(); });
  return all;
}

Result<void> measure_agent(const ForwardNetwork& network, const Options& options, FlowReport& report) {
  auto memory = measure_memory(network, options.weir, kFlows);
  if (!memory) return pass(std::move(memory));
  report.memory = *memory;
  for (const std::size_t cpus : {2U, 16U, 64U, 128U, 256U}) {
    const auto bytes = observe::DataPlane::planned_map_bytes(cpus, false, kFlows);
    if (!bytes) return std::unexpected(bytes.error());
    report.planned_bytes.emplace_back(cpus, *bytes);
  }
  auto promotions = measure_promotions(options.promotions);
  if (!promotions) return pass(std::move(promotions));
  report.promotion_us = *std::move(promotions);
  return {};
}

Result<FlowReport> run(const Options& options, const sys::StopSignal& stop) {
  FlowReport report;
  report.processor = processor_name();
  report.plan = options.plan;
  report.requests = options.requests;
  report.hooks = {{"weir", 4}, {"weir-pinned", 4}, {"weir-both", 4}, {"softflowd", 1}, {"pmacctd", 1}, {"bpftrace", 2}};
  utsname system{};
  ::uname(&system);
  report.kernel = system.release;
  const auto stopped = [&stop] { return stop.requested(); };
  const auto network = ForwardNetwork::build();
  if (!network) return std::unexpected(network.error());
  if (auto measured = measure_agent(*network, options, report); !measured) return pass(std::move(measured));
  auto forwarding =
      measure(*network, chosen(variants("r0", network->router_fd()), options.only), options.plan, stopped);
  if (!forwarding) return pass(std::move(forwarding));
  report.forwarding = *std::move(forwarding);
  const auto echo = EchoNetwork::build();
  if (!echo) return std::unexpected(echo.error());
  auto answered = measure_echo(*echo, chosen(variants("d0", echo->server_fd()), options.only), options.plan.rounds,
                               options.requests, options.plan.cpu, stopped);
  if (!answered) return pass(std::move(answered));
  report.echo = *std::move(answered);
  return report;
}

int main_of(int argc, char** argv) {
  CLI::App app("What accounting every flow costs, with softflowd, pmacctd and bpftrace beside it.");
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
  app.add_option("--requests", options.requests, "TCP requests a round")
      ->check(CLI::Range(1000, 100'000'000))
      ->capture_default_str();
  app.add_option("--promotions", options.promotions, "Elephants whose promotion is timed")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_option("--cpu", options.plan.cpu, "The CPU that sends and forwards")
      ->check(CLI::Range(0, 8191))
      ->capture_default_str();
  app.add_option("--only", options.only, "These variants only, and 'off'")->delimiter(',');
  app.add_option("--weir", options.weir, "The program whose memory is measured")->capture_default_str();
  app.add_flag("--json", options.json, "One JSON document, weir.flow_overhead/1");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto stop = sys::StopSignal::install();
  const auto report = stop ? run(options, *stop) : Result<FlowReport>(std::unexpected(stop.error()));
  if (!report) {
    fmt::print(stderr, "flow_overhead: {}\n", report.error().message);
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
