#include "rounds.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "empty_programs.h"
#include "pinned.h"
#include "programs.h"

namespace weir::bench {

namespace {

/// schedstat of the CPU's ksoftirqd; empty where it is out of sight.
std::string ksoftirqd_path(int cpu) {
  const std::string wanted = fmt::format("ksoftirqd/{}", cpu);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    if (!parse_u64(entry.path().filename().native())) continue;
    std::ifstream comm(entry.path() / "comm");
    std::string name;
    if (std::getline(comm, name) && name == wanted) return entry.path() / "schedstat";
  }
  return {};
}

/// CPU time of all threads of a process and of its children so far; 0 once it is gone.
std::uint64_t process_cpu_ns(pid_t pid) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), error)) {
    std::uint64_t ns = 0;
    if (std::ifstream(entry.path() / "schedstat") >> ns) sum += ns;
    std::ifstream children(entry.path() / "children");
    for (pid_t child = 0; children >> child;) sum += process_cpu_ns(child);
  }
  return sum;
}

/// Sends and waits until all arrived: what a softirq still holds must not be paid by the next round.
Result<void> send_all(const ForwardNetwork& network, std::uint64_t packets) {
  const auto before = network.arrived();
  if (!before) return std::unexpected(before.error());
  if (auto sent = network.send(packets); !sent) return sent;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  std::uint64_t arrived = 0;
  do {
    const auto now = network.arrived();
    if (!now) return std::unexpected(now.error());
    arrived = *now - *before;
  } while (arrived < packets && std::chrono::steady_clock::now() < deadline);
  if (arrived == packets) return {};
  return fail(Errc::failed, fmt::format("{} of {} packets arrived at the sink", arrived, packets));
}

Result<double> ns_per_packet(const ForwardNetwork& network, const Plan& plan, const CpuTime& time) {
  const std::uint64_t packets = plan.packets;
  const auto pinned = Pinned::on(plan.cpu);
  if (!pinned) return std::unexpected(pinned.error());
  if (auto warm = send_all(network, packets / 16); !warm) return pass(std::move(warm));
  const std::uint64_t start = time.ns();
  if (auto sent = send_all(network, packets); !sent) return pass(std::move(sent));
  return static_cast<double>(time.ns() - start) / static_cast<double>(packets);
}

bool is_floor(const ProgramStats& program) {
  return program.name.starts_with("floor_");
}

double ns_per_run(const ProgramStats& program) {
  return static_cast<double>(program.run_ns) / static_cast<double>(program.runs);
}

/// Sums of the programs that ran for at least half of the packets: not those that have other duties.
ProgramStats sum(const std::vector<ProgramStats>& programs, std::uint64_t packets, bool floor) {
  ProgramStats all;
  for (const ProgramStats& program : programs) {
    if (is_floor(program) != floor || program.runs < packets / 2) continue;
    all.runs += program.runs;
    all.run_ns += program.run_ns;
  }
  return all;
}

/// One round under the kernel's run statistics, beside empty programs at the same hooks.
Result<void> measure_runs(const ForwardNetwork& network, const Variant& variant, const void* owner, const Plan& plan,
                          Series& series) {
  const std::uint64_t packets = plan.packets;
  const auto pinned = Pinned::on(plan.cpu);
  if (!pinned) return std::unexpected(pinned.error());
  const auto floor = attach_empty_programs();
  if (!floor) return std::unexpected(floor.error());
  const auto stats = enable_stats();
  if (!stats) return std::unexpected(stats.error());
  const auto read = [&]() -> Result<std::vector<ProgramStats>> {
    auto own = programs_of(::getpid());
    const pid_t holder = variant.holder(owner);
    if (!own || holder == ::getpid()) return own;
    auto others = programs_of(holder);
    if (!others) return others;
    own->insert(own->end(), others->begin(), others->end());
    return own;
  };
  if (auto warm = send_all(network, packets / 16); !warm) return warm;
  const auto before = read();
  if (!before) return std::unexpected(before.error());
  if (auto sent = send_all(network, packets); !sent) return sent;
  const auto after = read();
  if (!after) return std::unexpected(after.error());

  const std::vector<ProgramStats> ran = grown(*before, *after);
  const ProgramStats floor_sum = sum(ran, packets, true);
  const ProgramStats own_sum = sum(ran, packets, false);
  if (floor_sum.runs == 0 || own_sum.runs == 0) return fail(Errc::failed, variant.name + ": no program ran");
  series.run_ns_per_firing.push_back(ns_per_run(own_sum));
  series.floor_ns_per_firing.push_back(ns_per_run(floor_sum));
  series.firings_per_packet.push_back(static_cast<double>(own_sum.runs) / static_cast<double>(packets));
  for (const ProgramStats& program : ran) {
    if (is_floor(program) || program.runs < packets / 2) continue;
    const std::string hook = program.name.ends_with("receive") ? "floor_receive" : "floor_transmit";
    const auto own_floor = std::ranges::find(ran, hook, &ProgramStats::name);
    const bool paired = program.name.starts_with("data_") && own_floor != ran.end();
    series.net_ns_by_program[program.name].push_back(ns_per_run(program) - ns_per_run(paired ? *own_floor : floor_sum));
  }
  return {};
}

/// Attaches, measures both ways, detaches.
Result<void> measure_variant(const ForwardNetwork& network, const Variant& variant, const Plan& plan,
                             const CpuTime& time, Series& series) {
  auto owner = variant.attach();
  if (!owner) {
    series.absent = owner.error().message;
    return {};
  }
  const auto arrived_before = network.arrived();
  if (!arrived_before) return std::unexpected(arrived_before.error());
  const pid_t reader = variant.reader ? variant.reader(owner->get()) : -1;
  const std::uint64_t reader_before = reader < 0 ? 0 : process_cpu_ns(reader);
  auto cost = ns_per_packet(network, plan, time);
  if (!cost) return pass(std::move(cost));
  series.ns_per_packet.push_back(*cost);
  if (reader >= 0) {
    const auto packets = plan.packets + plan.packets / 16;  // with those that warm up
    series.reader_ns.push_back(static_cast<double>(process_cpu_ns(reader) - reader_before) /
                               static_cast<double>(packets));
  }
  if (variant.holder) {
    if (auto ran = measure_runs(network, variant, owner->get(), plan, series); !ran) return ran;
  }
  if (!variant.counted) return {};
  const auto arrived = network.arrived();
  if (!arrived) return std::unexpected(arrived.error());
  const auto counted = variant.counted(owner->get());
  if (!counted) return std::unexpected(counted.error());
  series.counted_per_packet.push_back(static_cast<double>(*counted) / static_cast<double>(*arrived - *arrived_before));
  return {};
}

}  // namespace

CpuTime::CpuTime(int cpu) : ksoftirqd_(ksoftirqd_path(cpu)) {}

std::uint64_t CpuTime::ns() const {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  std::uint64_t softirq_ns = 0;
  if (!ksoftirqd_.empty()) std::ifstream(ksoftirqd_) >> softirq_ns;
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec) + softirq_ns;
}

Result<std::vector<Series>> measure(const ForwardNetwork& network, const std::vector<Variant>& variants,
                                    const Plan& plan, const std::function<bool()>& stopped) {
  const CpuTime time(plan.cpu);
  std::vector<Series> all;
  for (const Variant& variant : variants) all.push_back({.name = variant.name, .what = variant.what});
  for (int round = 0; round < plan.rounds; ++round) {
    for (std::size_t i = 0; i < variants.size(); ++i) {
      if (stopped()) return fail(Errc::failed, "interrupted");
      if (!all[i].absent.empty()) continue;
      if (auto done = measure_variant(network, variants[i], plan, time, all[i]); !done) {
        return pass(std::move(done), variants[i].name);
      }
      if (!all[i].absent.empty()) continue;
      all[i].added_ns.push_back(all[i].ns_per_packet.back() - all[0].ns_per_packet.back());
    }
  }
  return all;
}

}  // namespace weir::bench
