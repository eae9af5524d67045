#include "cli/render_latency.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "base/text.h"
#include "base/units.h"

namespace weir::cli {

namespace {

constexpr std::size_t kDevicesShown = 8;
constexpr std::size_t kBucketsAnOctave = 4;
constexpr std::string_view kHeights = " .:-=+*#%@";

/// The octaves that any of the rows has something in.
struct Axis {
  std::size_t begin = 0;
  std::size_t end = 0;
};

std::size_t octave_of(std::size_t bucket) {
  return (bucket + kBucketsAnOctave - 1) / kBucketsAnOctave;
}

Axis axis_of(const std::vector<model::StretchTimes>& times) {
  Axis axis{octave_of(DurationHistogram::kBuckets), 0};
  for (const model::StretchTimes& one : times) {
    for (std::size_t bucket = 0; bucket < DurationHistogram::kBuckets; ++bucket) {
      if (one.time.buckets()[bucket] == 0) continue;
      axis.begin = std::min(axis.begin, octave_of(bucket));
      axis.end = std::max(axis.end, octave_of(bucket) + 1);
    }
  }
  return axis;
}

/// A letter an octave; anything at all is at least a dot.
std::string bars(const DurationHistogram& time, const Axis& axis) {
  std::vector<std::uint64_t> octaves(octave_of(DurationHistogram::kBuckets) + 1);
  for (std::size_t bucket = 0; bucket < DurationHistogram::kBuckets; ++bucket) {
    octaves[octave_of(bucket)] += time.buckets()[bucket];
  }
  const std::uint64_t most = std::max<std::uint64_t>(std::ranges::max(octaves), 1);
  std::string text;
  for (std::size_t octave = axis.begin; octave < axis.end; ++octave) {
    const std::uint64_t steps = kHeights.size() - 1;
    text += kHeights[(octaves[octave] * steps + most - 1) / most];
  }
  return text;
}

std::string ns_text(std::uint64_t ns) {
  return format_duration(std::chrono::nanoseconds(ns));
}

std::string stretch_text(const model::StretchTimes& one) {
  return one.hook.empty() ? model::to_string(one.stretch)
                          : fmt::format("{} {}", model::to_string(one.stretch), printable(one.hook));
}

}  // namespace

std::string render_latency(const std::vector<model::StretchTimes>& times, bool verbose) {
  if (times.empty()) return "no journey had two hooks with a stretch between them\n";
  const Axis axis = axis_of(times);
  std::size_t where = 5;
  for (const model::StretchTimes& one : times) where = std::max(where, model::to_string(one.device).size());
  const std::uint64_t axis_begin =
      axis.begin == 0 ? 0 : DurationHistogram::bucket_begin_ns((axis.begin - 1) * kBucketsAnOctave + 1);
  std::string text = fmt::format("{:<23}{:<{}}{:>10}{:>10}{:>10}{:>10}{:>10}  |from {}, each letter twice the time\n",
                                 "stretch", "at", where, "packets", "p50", "p90", "p99", "max", ns_text(axis_begin));
  std::map<std::string, std::size_t> rows;
  for (const model::StretchTimes& one : times) {
    const std::string name = stretch_text(one);
    if (++rows[name] > kDevicesShown && !verbose) continue;
    text += fmt::format("{:<23}{:<{}}{:>10}{:>10}{:>10}{:>10}{:>10}  |{}|\n", name, model::to_string(one.device), where,
                        one.time.count(), ns_text(one.time.quantile_ns(0.5)), ns_text(one.time.quantile_ns(0.9)),
                        ns_text(one.time.quantile_ns(0.99)), ns_text(one.time.max_ns()), bars(one.time, axis));
  }
  for (const auto& [name, count] : rows) {
    if (count > kDevicesShown && !verbose) {
      text += fmt::format("{}: {} quicker devices more (-v shows them)\n", name, count - kDevicesShown);
    }
  }
  return text + fmt::format("Quantiles are within {:.0f} %; stretches overlap: total holds all of them.\n",
                            DurationHistogram::kErrorPct);
}

}  // namespace weir::cli
