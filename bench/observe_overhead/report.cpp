#include "report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "quantile.h"

namespace weir::bench {

namespace {

using nlohmann::ordered_json;

double median(const std::vector<double>& values) {
  return quantile(values, 0.5);
}

/// Net run time of a firing, one value a round.
std::vector<double> net_per_firing(const Series& series) {
  std::vector<double> net;
  for (std::size_t i = 0; i < series.run_ns_per_firing.size(); ++i) {
    net.push_back(series.run_ns_per_firing[i] - series.floor_ns_per_firing[i]);
  }
  return net;
}

/// Other traffic of the host fires the programs too: the round with least of it is nearest to the truth.
double firings_per_packet(const Series& series) {
  return quantile(series.firings_per_packet, 0);
}

/// Added CPU time of a packet over the number of times that a packet meets a program.
std::vector<double> added_per_firing(const Report& report, const Series& series) {
  std::vector<double> added;
  double firings = firings_per_packet(series);
  for (const Series& other : report.series) {  // every variant has the same hooks: "empty" counts by its neighbour
    if (firings <= 0) firings = firings_per_packet(other);
  }
  if (firings <= 0) return added;
  for (const double ns : series.added_ns) added.push_back(ns / firings);
  return added;
}

ordered_json spread_json(const std::vector<double>& values) {
  if (values.empty()) return nullptr;
  return {{"min", quantile(values, 0)},
          {"q1", quantile(values, 0.25)},
          {"median", median(values)},
          {"q3", quantile(values, 0.75)},
          {"max", quantile(values, 1)}};
}

/// "median [q1 .. q3]"
std::string spread_text(const std::vector<double>& values) {
  if (values.empty()) return "-";
  return fmt::format("{:.0f} [{:.0f} .. {:.0f}]", median(values), quantile(values, 0.25), quantile(values, 0.75));
}

std::string row(const Report& report, const Series& series) {
  if (!series.absent.empty()) return fmt::format("{:<12} {}\n", series.name, series.absent);
  const std::vector<double> net = net_per_firing(series);
  return fmt::format(
      "{:<12} {:>7.0f} {:>7.0f}  {:>20} {:>20} {:>8} {:>8.1f} {:>8}\n", series.name, quantile(series.ns_per_packet, 0),
      median(series.ns_per_packet), spread_text(series.added_ns), spread_text(added_per_firing(report, series)),
      net.empty() ? std::string("-") : fmt::format("{:.1f}", quantile(net, 0)), median(net),
      series.firings_per_packet.empty() ? std::string("-") : fmt::format("{:.2f}", firings_per_packet(series)));
}

std::string programs_text(const Report& report) {
  std::string text;
  for (const Series& series : report.series) {
    for (const auto& [program, net] : series.net_ns_by_program) {
      text += fmt::format("{:<12} {:<16} {:>8.1f} {:>8.1f}\n", series.name, program, quantile(net, 0), median(net));
    }
  }
  return text;
}

}  // namespace

std::string to_text(const Report& report) {
  std::string text = fmt::format(
      "Forwarding between two veth pairs, 60-byte UDP frames, 256 flows, on CPU {} alone; Linux {}, {}\n"
      "{} rounds of {} packets, variants in turn; CPU time of the sender and all softirqs\n\n",
      report.plan.cpu, report.kernel, report.processor, report.plan.rounds, report.plan.packets);
  text += fmt::format("{:<12} {:>15}  {:>20} {:>20} {:>17} {:>8}\n", "", "ns a packet", "added a packet",
                      "added a firing", "program, net", "firings");
  text += fmt::format("{:<12} {:>7} {:>7}  {:>20} {:>20} {:>8} {:>8} {:>8}\n", "", "min", "median", "median [q1 .. q3]",
                      "median [q1 .. q3]", "min", "median", "a packet");
  for (const Series& series : report.series) text += row(report, series);
  for (const Series& series : report.series) text += fmt::format("  {}: {}\n", series.name, series.what);
  text +=
      "\nNet run time of each program, ns a firing: the kernel's run statistics minus an empty program at the same\n"
      "hook at the same time (min, median)\n" +
      programs_text(report);
  text += fmt::format("\nMaps: {:.2f} MiB on this host", static_cast<double>(report.map_bytes) / (1U << 20U));
  for (const auto& [cpus, bytes] : report.planned_bytes) {
    text += fmt::format(", {:.2f} MiB with {} CPUs", static_cast<double>(bytes) / (1U << 20U), cpus);
  }
  return text + "\n";
}

std::string to_json(const Report& report) {
  ordered_json document{{"schema", "weir.observe_overhead/1"}, {"kernel", report.kernel},
                        {"processor", report.processor},       {"cpu", report.plan.cpu},
                        {"rounds", report.plan.rounds},        {"packets_per_round", report.plan.packets}};
  for (const Series& series : report.series) {
    ordered_json one{{"name", series.name}, {"what", series.what}};
    one["absent"] = series.absent.empty() ? ordered_json(nullptr) : ordered_json(series.absent);
    one["packet_cpu_ns"] = spread_json(series.ns_per_packet);
    one["added_packet_ns"] = spread_json(series.added_ns);
    one["added_firing_ns"] = spread_json(added_per_firing(report, series));
    one["firings_per_packet"] = spread_json(series.firings_per_packet);
    one["program_firing_ns"] = spread_json(series.run_ns_per_firing);
    one["floor_firing_ns"] = spread_json(series.floor_ns_per_firing);
    one["net_firing_ns"] = spread_json(net_per_firing(series));
    one["programs"] = ordered_json::array();
    for (const auto& [program, net] : series.net_ns_by_program) {
      one["programs"].push_back({{"name", program}, {"net_firing_ns", spread_json(net)}});
    }
    document["variants"].push_back(std::move(one));
  }
  document["map_bytes"] = report.map_bytes;
  for (const auto& [cpus, bytes] : report.planned_bytes) {
    document["planned_map_bytes"].push_back({{"cpus", cpus}, {"bytes", bytes}});
  }
  return document.dump(2) + "\n";
}

}  // namespace weir::bench
