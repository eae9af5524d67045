// observe_overhead: what the always-on data plane costs a forwarded packet, and bpftrace beside it.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>

#include "base/text.h"
#include "bpftrace.h"
#include "empty_programs.h"
#include "exit_code.h"
#include "observe/dataplane/dataplane.h"
#include "report.h"
#include "sys/signal.h"

namespace weir::bench {
namespace {

constexpr std::uint32_t kFlows = 65536;

pid_t held_by_us(const void*) {
  return ::getpid();
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
          .reader = {}};
}

std::vector<Variant> variants() {
  return {{.name = "off",
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
          weir_variant("weir", "Weir's data plane, one packet in 64 examined", {}),
          weir_variant("weir-doctor", "the same with one in 16", {.sample_rate = 16}),
          weir_variant("weir-flows", "flows alone, as weir flows has them",
                       {.sample_rate = 0, .queues = false, .flows = kFlows}),
          weir_variant("weir-both", "queues, one in 64 examined, and flows", {.flows = kFlows}),
          {.name = "bpftrace",
           .what = "packets by device name and tx queue, by device name received",
           .attach = []() -> Result<std::shared_ptr<void>> {
             auto running = start_bpftrace();
             if (!running) return pass(std::move(running));
             return std::make_shared<sys::Process>(*std::move(running));
           },
           .holder = [](const void* owner) { return static_cast<const sys::Process*>(owner)->pid(); },
           .reader = {}}};
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line)) {
    if (line.starts_with("model name")) return std::string(trim(line.substr(line.find(':') + 1)));
  }
  return "unknown processor";
}

Result<Report> run(const Plan& plan, const sys::StopSignal& stop) {
  Report report{
      .kernel = {}, .processor = processor_name(), .plan = plan, .series = {}, .map_bytes = 0, .planned_bytes = {}};
  utsname system{};
  ::uname(&system);
  report.kernel = system.release;
  {
    const auto plane = observe::DataPlane::start({});
    if (!plane) return std::unexpected(plane.error());
    const auto bytes = plane->map_bytes();
    if (!bytes) return std::unexpected(bytes.error());
    report.map_bytes = *bytes;
  }
  for (const std::size_t cpus : {2U, 64U, 128U}) {
    const auto bytes = observe::DataPlane::planned_map_bytes(cpus);
    if (!bytes) return std::unexpected(bytes.error());
    report.planned_bytes.emplace_back(cpus, *bytes);
  }
  const auto network = ForwardNetwork::build();
  if (!network) return std::unexpected(network.error());
  auto series = measure(*network, variants(), plan, [&stop] { return stop.requested(); });
  if (!series) return pass(std::move(series));
  report.series = *std::move(series);
  return report;
}

int main_of(int argc, char** argv) {
  CLI::App app("What Weir's data plane costs a forwarded packet, with bpftrace beside it.");
  Plan plan;
  bool json = false;
  app.add_option("--rounds", plan.rounds, "Rounds of every variant")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--packets", plan.packets, "Packets a round")
      ->check(CLI::Range(1000, 100'000'000))
      ->capture_default_str();
  app.add_option("--cpu", plan.cpu, "The CPU that sends and forwards")
      ->check(CLI::Range(0, 8191))
      ->capture_default_str();
  app.add_flag("--json", json, "One JSON document, weir.observe_overhead/1");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto stop = sys::StopSignal::install();
  const auto report = stop ? run(plan, *stop) : Result<Report>(std::unexpected(stop.error()));
  if (!report) {
    fmt::print(stderr, "observe_overhead: {}\n", report.error().message);
    if (!report.error().hint.empty()) fmt::print(stderr, "{}\n", report.error().hint);
    return exit_code(report.error());
  }
  fmt::print("{}", json ? to_json(*report) : to_text(*report));
  return 0;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  return weir::bench::main_of(argc, argv);
}
