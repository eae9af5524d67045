#include "trace_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "quantile.h"

namespace weir::bench {

namespace {

using nlohmann::ordered_json;

/// What the programs themselves took of a packet: all firings, each minus an empty program at the same time.
std::vector<double> net_per_packet(const Series& series) {
  std::vector<double> net;
  for (std::size_t at = 0; at < series.run_ns_per_firing.size(); ++at) {
    net.push_back((series.run_ns_per_firing[at] - series.floor_ns_per_firing[at]) * series.firings_per_packet[at]);
  }
  return net;
}

ordered_json spread_json(const std::vector<double>& values) {
  if (values.empty()) return nullptr;
  return {{"min", quantile(values, 0)},
          {"q1", quantile(values, 0.25)},
          {"median", quantile(values, 0.5)},
          {"q3", quantile(values, 0.75)},
          {"max", quantile(values, 1)}};
}

/// "median [q1 .. q3]"
std::string spread_text(const std::vector<double>& values) {
  if (values.empty()) return "-";
  return fmt::format("{:.0f} [{:.0f} .. {:.0f}]", quantile(values, 0.5), quantile(values, 0.25),
                     quantile(values, 0.75));
}

std::string number_text(const std::vector<double>& values, double share) {
  return values.empty() ? std::string("-") : fmt::format("{:.0f}", quantile(values, share));
}

std::string row(const Series& series) {
  if (!series.absent.empty()) return fmt::format("{:<15} left out: {}\n", series.name, series.absent);
  const std::vector<double> net = net_per_packet(series);
  return fmt::format("{:<15} {:>7} {:>7}  {:>22} {:>7} {:>10} {:>7} {:>8}\n", series.name,
                     number_text(series.ns_per_packet, 0), number_text(series.ns_per_packet, 0.5),
                     spread_text(series.added_ns), number_text(series.reader_ns, 0.5), number_text(net, 0),
                     number_text(net, 0.5),
                     series.firings_per_packet.empty() ? std::string("-")
                                                       : fmt::format("{:.1f}", quantile(series.firings_per_packet, 0)));
}

std::string programs_text(const TraceReport& report) {
  std::string text;
  for (const Series& series : report.series) {
    for (const auto& [program, net] : series.net_ns_by_program) {
      text += fmt::format("  {:<15} {:<16} {:>8.1f} {:>8.1f}\n", series.name, program, quantile(net, 0),
                          quantile(net, 0.5));
    }
  }
  return text;
}

std::string lossless_text(const std::vector<Lossless>& rows) {
  if (rows.empty()) return {};
  std::string text = "\nPackets a second that were recorded without loss: median (least .. most) of the searches\n";
  for (const Lossless& one : rows) {
    if (!one.absent.empty()) {
      text += fmt::format("  {:<17} left out: {}\n", one.name, one.absent);
      continue;
    }
    text += fmt::format("  {:<17} {:>8} ({} .. {})\n", one.name, format_count(quantile(one.packets_per_second, 0.5)),
                        format_count(quantile(one.packets_per_second, 0)),
                        format_count(quantile(one.packets_per_second, 1)));
  }
  return text;
}

}  // namespace

std::string to_text(const TraceReport& report) {
  std::string text = fmt::format(
      "Forwarding between two veth pairs, 60-byte UDP frames, 256 flows, on CPU {}; Linux {}, {}\n"
      "{} rounds of {} packets, variants in turn; CPU time of the sender and all softirqs, readers apart\n\n",
      report.plan.cpu, report.kernel, report.processor, report.plan.rounds, report.plan.packets);
  text += fmt::format("{:<15} {:>15}  {:>22} {:>7} {:>18} {:>8}\n", "", "ns a packet", "added a packet", "reader",
                      "programs, net", "firings");
  text += fmt::format("{:<15} {:>7} {:>7}  {:>22} {:>7} {:>10} {:>7} {:>8}\n", "", "min", "median", "median [q1 .. q3]",
                      "median", "min", "median", "a packet");
  for (const Series& series : report.series) text += row(series);
  for (const Series& series : report.series) text += fmt::format("  {}: {}\n", series.name, series.what);
  text +=
      "\nNet run time of each program, ns a firing: the kernel's run statistics minus an empty program's at the same\n"
      "time (min, median)\n" +
      programs_text(report);
  return text + lossless_text(report.lossless);
}

std::string to_json(const TraceReport& report) {
  ordered_json document{{"schema", "weir.trace_overhead/1"}, {"kernel", report.kernel},
                        {"processor", report.processor},     {"cpu", report.plan.cpu},
                        {"rounds", report.plan.rounds},      {"packets_per_round", report.plan.packets}};
  document["variants"] = ordered_json::array();
  for (const Series& series : report.series) {
    ordered_json one{{"name", series.name}, {"what", series.what}};
    one["absent"] = series.absent.empty() ? ordered_json(nullptr) : ordered_json(series.absent);
    one["packet_cpu_ns"] = spread_json(series.ns_per_packet);
    one["added_packet_ns"] = spread_json(series.added_ns);
    one["reader_packet_ns"] = spread_json(series.reader_ns);
    one["net_packet_ns"] = spread_json(net_per_packet(series));
    one["firings_per_packet"] = spread_json(series.firings_per_packet);
    one["programs"] = ordered_json::array();
    for (const auto& [program, net] : series.net_ns_by_program) {
      one["programs"].push_back({{"name", program}, {"net_firing_ns", spread_json(net)}});
    }
    document["variants"].push_back(std::move(one));
  }
  document["lossless"] = ordered_json::array();
  for (const Lossless& one : report.lossless) {
    document["lossless"].push_back({{"name", one.name},
                                    {"absent", one.absent.empty() ? ordered_json(nullptr) : ordered_json(one.absent)},
                                    {"packets_per_second", spread_json(one.packets_per_second)}});
  }
  return document.dump(2) + "\n";
}

}  // namespace weir::bench
