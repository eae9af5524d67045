#include "cli/render_footprints.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "base/units.h"

namespace weir::cli {

namespace {

std::string workload_text(const model::FootprintKey& key) {
  // Many processes have the same name.
  return printable(key.kind + " " + key.name + (key.kind == "process" ? ' ' + key.id : ""));
}

std::string rtt_text(const std::optional<double>& us) {
  if (!us) return "-";
  return format_duration(std::chrono::nanoseconds(static_cast<std::int64_t>(*us * 1000)));
}

std::string footprint_row(const model::WorkloadFootprint& one, std::size_t name_width) {
  const model::Footprint& print = one.horizons.back();
  return fmt::format("{:<{}}  {:<2}  {:<17} {:>4.0f} %  {:>13} {:>13} {:>13}  {:>7.1f} {:>6.0f} {:>8.0f} %  {:>8}\n",
                     workload_text(one.key), name_width, to_string(one.key.direction),
                     to_string(one.verdict.footprint_class), 100 * one.verdict.confidence,
                     format_bit_rate(print.throughput_bps.p50), format_bit_rate(print.throughput_bps.p95),
                     format_bit_rate(print.throughput_bps.max), print.flow_arrivals_per_s, print.peers,
                     100 * print.elephant_byte_share, rtt_text(print.srtt_us_p50));
}

}  // namespace

std::string render_footprints(std::vector<model::WorkloadFootprint> footprints, std::size_t limit) {
  std::erase_if(footprints, [](const model::WorkloadFootprint& one) { return one.horizons.empty(); });
  if (footprints.empty()) return "no packets of any workload\nnext: weir flows list\n";
  std::ranges::stable_sort(footprints, std::greater<>{},
                           [](const model::WorkloadFootprint& one) { return one.horizons.back().bytes; });
  const std::size_t rows = std::min(limit, footprints.size());
  std::size_t name_width = 8;
  for (std::size_t row = 0; row < rows; ++row) {
    name_width = std::max(name_width, workload_text(footprints[row].key).size());
  }
  std::string text =
      fmt::format("{:<{}}  {:<2}  {:<17} {:>6}  {:>13} {:>13} {:>13}  {:>7} {:>6} {:>10}  {:>8}\n", "workload",
                  name_width, "", "class", "sure", "p50", "p95", "max", "flows/s", "peers", "elephants", "rtt");
  for (std::size_t row = 0; row < rows; ++row) text += footprint_row(footprints[row], name_width);
  if (rows < footprints.size()) text += fmt::format("{} more, see --limit\n", footprints.size() - rows);
  const bool heavy = std::ranges::any_of(
      footprints, [](const model::WorkloadFootprint& one) { return one.horizons.back().elephant_byte_share > 0; });
  return text + (heavy ? "next: weir flows elephants\n" : "next: weir flows footprints --json\n");
}

std::string render_bursts(std::vector<model::WorkloadFootprint> footprints, std::size_t limit) {
  std::erase_if(footprints, [](const model::WorkloadFootprint& one) { return !one.bursts; });
  if (footprints.empty()) return "no packets of any workload\nnext: weir flows list\n";
  std::ranges::stable_sort(footprints, std::greater<>{},
                           [](const model::WorkloadFootprint& one) { return one.bursts->bytes; });
  const std::size_t rows = std::min(limit, footprints.size());
  std::size_t name_width = 8;
  for (std::size_t row = 0; row < rows; ++row) {
    name_width = std::max(name_width, workload_text(footprints[row].key).size());
  }
  std::string text =
      fmt::format("{:<{}}  {:<2}  {:>13} {:>13} {:>13} {:>9}  {:>8} {:>6} {:>7} {:>9}  {}\n", "workload", name_width,
                  "", "mean", "p99 of 1 ms", "max of 1 ms", "p99/mean", "bursts/s", "idle", "var", "period", "at");
  for (std::size_t row = 0; row < rows; ++row) {
    const model::MillisecondBursts& bursts = *footprints[row].bursts;
    text +=
        fmt::format("{:<{}}  {:<2}  {:>13} {:>13} {:>13} {:>9.1f}  {:>8.1f} {:>4.0f} % {:>7.2f} {:>9}  {}\n",
                    workload_text(footprints[row].key), name_width, to_string(footprints[row].key.direction),
                    format_bit_rate(bursts.mean_bps), format_bit_rate(bursts.p99_bps), format_bit_rate(bursts.max_bps),
                    bursts.p99_over_mean, bursts.bursts_per_s, 100 * bursts.idle_share, bursts.variation,
                    bursts.period_ms ? fmt::format("{:.0f} ms", *bursts.period_ms) : "-",
                    bursts.device ? to_string(*bursts.device) : "-");
  }
  if (rows < footprints.size()) text += fmt::format("{} more, see --limit\n", footprints.size() - rows);
  return text + "next: weir flows footprints\n";
}

}  // namespace weir::cli
