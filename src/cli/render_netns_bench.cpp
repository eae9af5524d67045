#include "cli/render_netns_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"

namespace weir::cli {

namespace {

using Json = nlohmann::ordered_json;
using netns::bench::EchoCost;
using netns::bench::Footprint;
using netns::bench::Ratio;
using netns::bench::Report;
using netns::bench::SwitchCost;
using netns::bench::Verdict;

constexpr double kKib = 1024;

double percent(double ratio) {
  constexpr double kPercent = 100;
  return (ratio - 1) * kPercent;
}

double each(std::int64_t of, const Footprint& footprint) {
  return static_cast<double>(of) / static_cast<double>(std::max<std::size_t>(footprint.namespaces, 1));
}

std::string overhead(const Ratio& ratio) {
  return fmt::format("{:+6.1f} % [{:+.1f} .. {:+.1f}]", percent(ratio.value), percent(ratio.interval.low),
                     percent(ratio.interval.high));
}

std::string footprint_text(const Footprint& of) {
  return fmt::format(
      "{} namespace{} in this process, each {:.2f} ms to make, {:.0f} KiB of kernel memory (slab {:.0f}, percpu "
      "{:.1f}),\n"
      "  {:.0f} bytes of ours, {:.2f} descriptors\n",
      of.namespaces, of.namespaces == 1 ? "" : "s", of.create_ns / 1e6,
      each(of.slab_bytes + of.percpu_bytes, of) / kKib, each(of.slab_bytes, of) / kKib,
      each(of.percpu_bytes, of) / kKib, each(of.resident_bytes, of), each(of.descriptors, of));
}

std::string switching_text(const netns::bench::Switching& of) {
  std::string text = fmt::format(
      "\nSwitching: {:.2f} ns to decide, {:.1f} ns for a scope where the thread is already; getppid {:.0f} ns\n"
      "  {:>10}  {:>10} {:>10}  {:>12} {:>10}  {:>9}\n",
      of.decision_ns, of.scope_there_ns, of.getppid_ns, "namespaces", "switch p50", "p99 ns", "setns p50", "p99 ns",
      "getppids");
  for (const SwitchCost& row : of.rows) {
    text += fmt::format("  {:>10}  {:>10.0f} {:>10.0f}  {:>12.0f} {:>10.0f}  {:>9.2f}\n", row.namespaces, row.p50_ns,
                        row.p99_ns, row.setns_p50_ns, row.setns_p99_ns, row.getppids);
  }
  return text + fmt::format("  the dearest p50 is {:.2f} times the cheapest\n", of.flatness);
}

std::string sockets_text(const Report& report) {
  std::string text;
  if (report.sockets) {
    const auto& of = *report.sockets;
    constexpr double kUs = 1000;
    text += fmt::format(
        "\nA TCP socket, p50: {:.2f} us here; {:+.2f} us elsewhere and home again, {:+.2f} us elsewhere, sticky\n",
        of.plain_ns / kUs, (of.strict_ns - of.plain_ns) / kUs, (of.sticky_ns - of.plain_ns) / kUs);
  }
  if (report.check) {
    const auto& of = *report.check;
    text +=
        fmt::format("{}{} sockets opened elsewhere by {} thread{}, each asked where it is: {} in a wrong namespace\n",
                    text.empty() ? "\n" : "", of.sockets, of.threads, of.threads == 1 ? "" : "s", of.wrong);
  }
  return text;
}

std::string echo_text(const Report& report) {
  const auto& of = *report.echo;
  std::string text = fmt::format(
      "\nEcho of 64 bytes: {} connections, {} at a time, {} rounds; CPU time of the server's thread (CPU {}, load on "
      "{})\n  {:>10}  {:<15}  {:>9}  {:>9}  {:>13}  {}\n",
      of.connections, of.outstanding, of.rounds, report.server_cpu, report.load_cpu, "namespaces", "method",
      "CPU ns/op", "ops/s", "events a wait", "overhead [95 %]");
  for (const EchoCost& row : of.rows) {
    text += fmt::format("  {:>10}  {:<15}  {:>9.0f}  {:>9}  {:>13.1f}  {}\n", row.namespaces, word_of(row.method),
                        row.cpu_ns_per_op, format_count(row.ops_per_s), row.events_per_wait, overhead(row.cost));
  }
  text += fmt::format("  {:>10}  {:<15}  {:>9}  {:>9}  {:>13}  {}\n", 1, "control", "", "", "", overhead(of.control));
  return text + fmt::format("  what the library adds to a bare epoll loop: {}\n", overhead(of.library));
}

std::string gate_text(const Report& report, const std::optional<Verdict>& verdict) {
  const auto& samples = report.gate->in_getppids;
  std::string text = fmt::format("\nGate: a switch among {} costs {:.3f} getppids", report.gate->namespaces,
                                 netns::bench::median(samples));
  if (!verdict) return text + "; --save FILE keeps it, --baseline FILE compares\n";
  text += fmt::format(", {:.3f} times the baseline's [{:.3f} .. {:.3f}]: ", verdict->ratio.value,
                      verdict->ratio.interval.low, verdict->ratio.interval.high);
  if (!verdict->calm) {
    return text +
           fmt::format("undecided, because a getppid takes {:.0f} ns and not what it took then; repeat it calmly\n",
                       report.gate->getppid_ns);
  }
  if (verdict->worse) return text + fmt::format("WORSE by more than {:.0f} %\n", percent(1 + verdict->tolerance));
  return text + (verdict->better ? "better; --save writes a new baseline\n" : "no worse\n");
}

Json ci_json(const Ratio& ratio) {
  return Json::array({percent(ratio.interval.low), percent(ratio.interval.high)});
}

Json memory_json(const Footprint& of) {
  return {{"namespaces", of.namespaces},
          {"create_ns_each", of.create_ns},
          {"slab_bytes_each", each(of.slab_bytes, of)},
          {"percpu_bytes_each", each(of.percpu_bytes, of)},
          {"kernel_bytes_each", each(of.slab_bytes + of.percpu_bytes, of)},
          {"available_bytes_each", each(of.available_bytes, of)},
          {"resident_bytes_each", each(of.resident_bytes, of)},
          {"descriptors_each", each(of.descriptors, of)}};
}

Json switches_json(const Report& report) {
  Json rows = Json::array();
  if (!report.switching) return rows;
  for (const SwitchCost& row : report.switching->rows) {
    rows.push_back({{"namespaces", row.namespaces},
                    {"p50", row.p50_ns},
                    {"p99", row.p99_ns},
                    {"setns_p50", row.setns_p50_ns},
                    {"setns_p99", row.setns_p99_ns},
                    {"in_getppids", row.getppids}});
  }
  return rows;
}

Json echo_json(const Report& report) {
  Json rows = Json::array();
  if (!report.echo) return rows;
  for (const EchoCost& row : report.echo->rows) {
    rows.push_back({{"namespaces", row.namespaces},
                    {"method", word_of(row.method)},
                    {"cpu_ns_per_op", row.cpu_ns_per_op},
                    {"ops_per_s", row.ops_per_s},
                    {"overhead_pct", percent(row.cost.value)},
                    {"ci_pct", ci_json(row.cost)},
                    {"events_per_wait", row.events_per_wait}});
  }
  return rows;
}

Json gate_json(const Report& report, const std::optional<Verdict>& verdict) {
  if (!report.gate) return nullptr;
  Json gate = {{"namespaces", report.gate->namespaces},
               {"switch_in_getppids", netns::bench::median(report.gate->in_getppids)},
               {"getppid_ns", report.gate->getppid_ns},
               {"rounds", report.gate->in_getppids.size()},
               {"ratio", nullptr}};
  if (!verdict) return gate;
  gate["ratio"] = verdict->ratio.value;
  gate["ci"] = {verdict->ratio.interval.low, verdict->ratio.interval.high};
  gate["tolerance"] = verdict->tolerance;
  gate["worse"] = verdict->worse;
  gate["better"] = verdict->better;
  gate["calm"] = verdict->calm;
  return gate;
}

}  // namespace

std::string render_netns_bench(const Report& report, const std::optional<Verdict>& verdict) {
  std::string text = footprint_text(report.footprint);
  if (report.switching) text += switching_text(*report.switching);
  text += sockets_text(report);
  if (report.echo) text += echo_text(report);
  if (report.gate) text += gate_text(report, verdict);
  if (report.interrupted) text += "\nInterrupted: what was measured until then.\n";
  return text;
}

Json netns_bench_json(const Report& report, const std::optional<Verdict>& verdict) {
  Json document = {
      {"schema", "weir.netns_bench/1"},
      {"machine", {{"kernel", report.machine.kernel}, {"cpu", report.machine.cpu}, {"build", report.machine.build}}},
      {"server_cpu", report.server_cpu},
      {"load_cpu", report.load_cpu},
      {"seed", report.seed},
      {"interrupted", report.interrupted},
      {"memory", memory_json(report.footprint)}};
  const auto& switching = report.switching;
  document["switch_decision_ns"] = switching ? Json(switching->decision_ns) : Json(nullptr);
  document["scope_there_ns"] = switching ? Json(switching->scope_there_ns) : Json(nullptr);
  document["getppid_ns"] = switching ? Json(switching->getppid_ns) : Json(nullptr);
  document["switch_ns"] = switches_json(report);
  document["switch_flatness"] = switching ? Json(switching->flatness) : Json(nullptr);
  document["socket_ns"] = nullptr;
  if (const auto& of = report.sockets) {
    document["socket_ns"] = {
        {"plain_p50", of->plain_ns}, {"elsewhere_p50", of->strict_ns}, {"elsewhere_sticky_p50", of->sticky_ns}};
  }
  document["socket_check"] = nullptr;
  if (const auto& of = report.check) {
    document["socket_check"] = {
        {"sockets", of->sockets}, {"wrong_namespace", of->wrong}, {"seconds", of->seconds}, {"threads", of->threads}};
  }
  document["echo"] = echo_json(report);
  document["echo_setup"] = nullptr;
  if (const auto& of = report.echo) {
    document["echo_setup"] = {{"connections", of->connections},
                              {"outstanding", of->outstanding},
                              {"rounds", of->rounds},
                              {"control_overhead_pct", percent(of->control.value)},
                              {"control_ci_pct", ci_json(of->control)},
                              {"library_overhead_pct", percent(of->library.value)},
                              {"library_ci_pct", ci_json(of->library)}};
  }
  document["gate"] = gate_json(report, verdict);
  return document;
}

}  // namespace weir::cli
