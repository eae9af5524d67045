#include "flow_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "quantile.h"

namespace weir::bench {

namespace {

using nlohmann::ordered_json;

constexpr double kMiB = 1U << 20U;

std::vector<double> net_ns(const Series& series) {
  std::vector<double> net;
  for (std::size_t i = 0; i < series.run_ns_per_firing.size(); ++i) {
    net.push_back(series.run_ns_per_firing[i] - series.floor_ns_per_firing[i]);
  }
  return net;
}

std::string figure(const std::vector<double>& values, double share, const char* format) {
  return values.empty() ? "-" : fmt::format(fmt::runtime(format), quantile(values, share));
}

std::vector<double> shares(const FlowReport& report, const Series& series) {
  std::vector<double> all;
  const auto hooks = report.hooks.find(series.name);
  if (hooks == report.hooks.end()) return all;
  for (const double counted : series.counted_per_packet) all.push_back(100 * counted / hooks->second);
  return all;
}

std::string forwarding_row(const FlowReport& report, const Series& series) {
  if (!series.absent.empty()) return fmt::format("{:<12} {}\n", series.name, series.absent);
  const std::vector<double> net = net_ns(series);
  const std::vector<double> seen = shares(report, series);
  return fmt::format("{:<12} {:>7} {:>7}  {:>7} {:>7}  {:>7} {:>7}  {:>8}  {:>7} {:>7}\n", series.name,
                     figure(series.ns_per_packet, 0, "{:.0f}"), figure(series.ns_per_packet, 0.5, "{:.0f}"),
                     figure(series.added_ns, 0, "{:.0f}"), figure(series.added_ns, 0.5, "{:.0f}"),
                     figure(net, 0, "{:.1f}"), figure(net, 0.5, "{:.1f}"), figure(series.reader_ns, 0.5, "{:.0f}"),
                     figure(seen, 0, "{:.2f}"), figure(seen, 0.5, "{:.2f}"));
}

std::string echo_row(const EchoSeries& series) {
  if (!series.absent.empty()) return fmt::format("{:<12} {}\n", series.name, series.absent);
  return fmt::format("{:<12} {:>7} {:>7}  {:>7} [{} .. {}]\n", series.name, figure(series.ns_per_request, 0, "{:.0f}"),
                     figure(series.ns_per_request, 0.5, "{:.0f}"), figure(series.loss_pct, 0.5, "{:+.1f}"),
                     figure(series.loss_pct, 0.25, "{:+.1f}"), figure(series.loss_pct, 0.75, "{:+.1f}"));
}

ordered_json spread(const std::vector<double>& values) {
  if (values.empty()) return nullptr;
  return {{"min", quantile(values, 0)}, {"median", quantile(values, 0.5)}, {"max", quantile(values, 1)}};
}

}  // namespace

std::string to_text(const FlowReport& report) {
  std::string text = fmt::format(
      "Linux {}, {}; {} rounds, variants in turn, on CPU {}\n\n"
      "Forwarding 60-byte UDP frames of 256 flows between two veth pairs, {} packets a round: CPU time, ns a packet\n"
      "{:<12} {:>15}  {:>15}  {:>15}  {:>8}  {:>15}\n{:<12} {:>7} {:>7}  {:>7} {:>7}  {:>7} {:>7}  {:>8}  {:>7} "
      "{:>7}\n",
      report.kernel, report.processor, report.plan.rounds, report.plan.cpu, report.plan.packets, "", "a packet",
      "added", "program, net", "reader", "% counted", "", "min", "median", "min", "median", "min", "median", "median",
      "min", "median");
  for (const Series& series : report.forwarding) text += forwarding_row(report, series);
  text += fmt::format(
      "\nTCP, requests and answers of 64 bytes over 128 connections through a veth pair, {} a round: CPU time, ns a "
      "request\n{:<12} {:>7} {:>7}  throughput lost, % [quartiles]\n",
      report.requests, "", "min", "median");
  for (const EchoSeries& series : report.echo) text += echo_row(series);
  text += "\n";
  for (const Series& series : report.forwarding) text += fmt::format("  {}: {}\n", series.name, series.what);
  const AgentMemory& memory = report.memory;
  const auto mib = [](std::uint64_t bytes) { return static_cast<double>(bytes) / kMiB; };
  text += fmt::format(
      "\nMemory of weir flows list with {} live flows: {:.1f} MiB its own while it watches, {:.1f} MiB when it writes "
      "its "
      "list, {:.1f} MiB with the table that it maps; {:.1f} MiB of maps\n",
      memory.live_flows, mib(memory.watching_bytes), mib(memory.anonymous_bytes), mib(memory.resident_bytes),
      mib(memory.map_bytes));
  text += "Maps as planned:";
  for (const auto& [cpus, bytes] : report.planned_bytes) {
    text += fmt::format(" {:.1f} MiB with {} CPUs", static_cast<double>(bytes) / kMiB, cpus);
  }
  return text + fmt::format(
                    "\nFrom the packet that crosses the threshold to the event at the agent: p50 {} us, p99 {} us, "
                    "largest {} us, of {}\n",
                    figure(report.promotion_us, 0.5, "{:.0f}"), figure(report.promotion_us, 0.99, "{:.0f}"),
                    figure(report.promotion_us, 1, "{:.0f}"), report.promotion_us.size());
}

std::string to_json(const FlowReport& report) {
  ordered_json document{{"schema", "weir.flow_overhead/1"}, {"kernel", report.kernel},
                        {"processor", report.processor},    {"cpu", report.plan.cpu},
                        {"rounds", report.plan.rounds},     {"packets_per_round", report.plan.packets}};
  document["forwarding"] = ordered_json::array();
  for (const Series& series : report.forwarding) {
    ordered_json one{{"name", series.name}, {"what", series.what}};
    one["absent"] = series.absent.empty() ? ordered_json(nullptr) : ordered_json(series.absent);
    one["packet_cpu_ns"] = spread(series.ns_per_packet);
    one["added_packet_ns"] = spread(series.added_ns);
    one["net_firing_ns"] = spread(net_ns(series));
    one["reader_ns"] = spread(series.reader_ns);
    one["counted_pct"] = spread(shares(report, series));
    document["forwarding"].push_back(std::move(one));
  }
  document["requests_per_round"] = report.requests;
  document["tcp"] = ordered_json::array();
  for (const EchoSeries& series : report.echo) {
    document["tcp"].push_back({{"name", series.name},
                               {"absent", series.absent.empty() ? ordered_json(nullptr) : ordered_json(series.absent)},
                               {"request_cpu_ns", spread(series.ns_per_request)},
                               {"throughput_loss_pct", spread(series.loss_pct)}});
  }
  document["memory"] = {{"live_flows", report.memory.live_flows},
                        {"resident_bytes", report.memory.resident_bytes},
                        {"watching_bytes", report.memory.watching_bytes},
                        {"anonymous_bytes", report.memory.anonymous_bytes},
                        {"map_bytes", report.memory.map_bytes}};
  for (const auto& [cpus, bytes] : report.planned_bytes) {
    document["planned_map_bytes"].push_back({{"cpus", cpus}, {"bytes", bytes}});
  }
  document["promotions"] = {{"count", report.promotion_us.size()},
                            {"p50_us", quantile(report.promotion_us, 0.5)},
                            {"p99_us", quantile(report.promotion_us, 0.99)},
                            {"max_us", quantile(report.promotion_us, 1)}};
  return document.dump(2) + "\n";
}

}  // namespace weir::bench
