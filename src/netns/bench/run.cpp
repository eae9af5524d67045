#include "netns/bench/run.h"

#include <algorithm>

namespace weir::netns::bench {

namespace {

EchoPlan echo_plan(const Options& options, const Report& report) {
  EchoPlan plan;
  plan.connections = options.connections;
  plan.outstanding = std::min(plan.outstanding, options.connections);
  plan.rounds = options.rounds;
  plan.seed = options.seed;
  plan.server_cpu = report.server_cpu;
  plan.load_cpu = report.load_cpu;
  return plan;
}

Result<void> run_switching(const Options& options, std::span<const Netns> places, Report& report, const Stop& stop) {
  return on_worker(report.server_cpu, [&]() -> Result<void> {
    auto measured = measure_switching(places, {.seed = options.seed}, stop);
    if (!measured) return pass(std::move(measured));
    report.switching = std::move(*measured);
    const auto among = places.first(std::min(kGateNamespaces, places.size()));
    auto visits = visiting(among, options.seed);
    if (!visits) return pass(std::move(visits));
    InGetppids costs = in_getppids(std::span(&*visits, 1), {}, stop);
    report.gate = Baseline{report.machine, among.size(), costs.getppid_ns, std::move(costs.samples.front())};
    return {};
  });
}

Result<void> run_sockets(const Options& options, std::span<const Netns> places, const std::vector<int>& cpus,
                         Report& report, const Stop& stop) {
  if (places.size() > 1) {
    auto done = on_worker(report.server_cpu, [&]() -> Result<void> {
      auto measured = measure_sockets(places, {.seed = options.seed}, stop);
      if (!measured) return pass(std::move(measured));
      report.sockets = *measured;
      return {};
    });
    if (!done) return done;
  }
  if (options.checked_sockets == 0) return {};
  auto checked = check_sockets(places, options.checked_sockets, options.seed, cpus, stop);
  if (!checked) return pass(std::move(checked));
  report.check = *checked;
  return {};
}

Result<void> run_echo(const Options& options, std::span<const Netns> places, Report& report, const Stop& stop) {
  return on_worker(report.load_cpu, [&]() -> Result<void> {
    auto measured = measure_echo(places, echo_plan(options, report), stop);
    if (!measured) return pass(std::move(measured));
    report.echo = std::move(*measured);
    return {};
  });
}

/// What the run needs at its largest.
std::size_t descriptors(const Options& options, const Report& report) {
  constexpr std::size_t kOwn = 256;
  return kOwn + options.namespaces +
         (options.echo ? echo_descriptors(echo_plan(options, report), options.namespaces) : 0);
}

}  // namespace

Result<Report> run(const Options& options, const Progress& progress, const Stop& stop) {
  Report report;
  report.seed = options.seed;
  auto root = sys::FileTree::open();
  if (!root) return pass(std::move(root));
  auto machine = gate_key(*root);
  if (!machine) return pass(std::move(machine));
  report.machine = std::move(*machine);
  auto cpus = allowed_cpus();
  if (!cpus) return pass(std::move(cpus));
  // The first CPU has most of the interrupts.
  report.server_cpu = cpus->back();
  report.load_cpu = cpus->size() > 1 ? (*cpus)[cpus->size() - 2] : cpus->back();
  // Before the limits, which somebody without rights cannot raise: the rights are what is missing then.
  if (auto tried = Netns::create(); !tried) return pass(std::move(tried), "making a network namespace");
  if (auto allowed = allow_descriptors(descriptors(options, report)); !allowed) return pass(std::move(allowed));

  progress("making " + std::to_string(options.namespaces) + " namespaces");
  auto places = make_places(options.namespaces, stop);
  if (!places) return pass(std::move(places));
  report.footprint = places->footprint;
  const std::span<const Netns> all(places->all);
  const auto part = [&](bool wanted, const char* phase, const auto& measure) -> Result<void> {
    if (!wanted || all.empty() || stop()) return {};
    progress(phase);
    return measure();
  };
  auto done = part(options.switching, "switching", [&] { return run_switching(options, all, report, stop); });
  if (done) {
    done = part(options.sockets, "sockets elsewhere", [&] { return run_sockets(options, all, *cpus, report, stop); });
  }
  if (done) done = part(options.echo, "echo", [&] { return run_echo(options, all, report, stop); });
  if (!done) return pass(std::move(done));
  report.interrupted = stop();
  return report;
}

}  // namespace weir::netns::bench
