#include "cli/render_paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/text.h"
#include "base/units.h"
#include "cli/render_trace.h"

namespace weir::cli {

namespace {

constexpr std::size_t kPathsShown = 20;
constexpr std::size_t kLineWidth = 116;

std::string duration_text(std::uint64_t ns) {
  return format_duration(std::chrono::nanoseconds(ns));
}

const char* path_end_text(model::JourneyEnd end) {
  switch (end) {
    case model::JourneyEnd::unknown:
      return "not seen after this";
    case model::JourneyEnd::arrived:
      return "taken in by a TCP socket";
    case model::JourneyEnd::delivered:
      return "read by a program";
    case model::JourneyEnd::merged:
      return "merged into others by GRO";
    default:
      return model::to_string(end);
  }
}

std::string path_headline(const model::PathTree& tree, const model::PacketPath& path, bool color) {
  const model::PathStop& last = tree.stops[path.stops.back()];
  const bool dropped = path.end == model::JourneyEnd::dropped;
  std::string end = path_end_text(path.end);
  if (dropped && !last.drop_reason.empty()) end += ": " + printable(last.drop_reason);
  if (color) end = fmt::format("\033[{}m{}\033[0m", dropped ? "31" : "32", end);
  const double share = 100.0 * static_cast<double>(path.packets) / static_cast<double>(tree.packets());
  return fmt::format("{:5.1f} %  {} packets, {}, {} on average\n", share, path.packets, end,
                     duration_text(tree.mean_ns(path)));
}

std::string hook_text(const model::PathStop& stop) {
  std::string text = printable(short_hook(stop.hook));
  if (!stop.drop_reason.empty()) text += " " + printable(stop.drop_reason);
  return text;
}

/// A hook without a device of its own belongs to the line of the one before, in the same namespace.
bool same_place(const model::PathStop& before, const model::PathStop& stop) {
  return before.device == stop.device || (stop.device.ifindex.value == 0 && before.device.netns == stop.device.netns);
}

std::size_t device_width(const model::PathTree& tree, const model::PacketPath& path) {
  std::size_t width = 0;
  for (const std::size_t stop : path.stops) width = std::max(width, model::to_string(tree.stops[stop].device).size());
  return width;
}

/// A line a device: its hooks with the times between them, p50 / p99.
std::string folded(const model::PathTree& tree, const model::PacketPath& path) {
  const std::size_t width = device_width(tree, path);
  std::string text;
  std::string line;
  const model::PathStop* before = nullptr;
  const auto end_line = [&] {
    if (!line.empty()) text += line + '\n';
  };
  for (const std::size_t index : path.stops) {
    const model::PathStop& stop = tree.stops[index];
    std::string word;
    if (stop.part)
      word = "cut into parts -> ";
    else if (stop.before)
      word = fmt::format("- {} / {} -> ", duration_text(stop.time.quantile_ns(0.5)),
                         duration_text(stop.time.quantile_ns(0.99)));
    word += hook_text(stop);
    const bool here = before != nullptr && same_place(*before, stop);
    if (!here || line.size() + word.size() + 1 > kLineWidth) {
      end_line();
      line = fmt::format("    {:<{}} ", here ? "" : model::to_string(stop.device), width);
    }
    line += " " + word;
    if (!here) before = &stop;
  }
  end_line();
  return text;
}

/// A line a hook with all that is known of the time since the one before.
std::string unfolded(const model::PathTree& tree, const model::PacketPath& path) {
  const std::size_t width = device_width(tree, path);
  std::string text = fmt::format("    {:<{}}  {:<30}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "", width, "", "packets",
                                 "mean", "p50", "p90", "p99", "max");
  for (const std::size_t index : path.stops) {
    const model::PathStop& stop = tree.stops[index];
    text += fmt::format("    {:<{}}  {:<30}{:>10}", model::to_string(stop.device), width,
                        hook_text(stop) + (stop.part ? " (parts)" : ""), stop.packets);
    if (stop.before && !stop.part) {
      text += fmt::format("{:>10}{:>10}{:>10}{:>10}{:>10}", duration_text(stop.time.mean_ns()),
                          duration_text(stop.time.quantile_ns(0.5)), duration_text(stop.time.quantile_ns(0.9)),
                          duration_text(stop.time.quantile_ns(0.99)), duration_text(stop.time.max_ns()));
    }
    text += '\n';
  }
  return text;
}

std::string copies_text(const model::PathTree& tree) {
  if (tree.copies.empty()) return {};
  std::string text = "copies of packets (clones) were seen at\n";
  for (const model::CopyStop& copy : tree.copies) {
    const std::string reason = copy.drop_reason.empty() ? "" : " " + printable(copy.drop_reason);
    text += fmt::format("{:>14} x  {}  {}{}\n", copy.packets, model::to_string(copy.device),
                        printable(short_hook(copy.hook)), reason);
  }
  return text + '\n';
}

std::string lost_text(const model::PathTree& tree) {
  if (tree.lost_steps == 0 && tree.cut_stops == 0) return {};
  return fmt::format(
      "{} steps found no room to be counted, or their events were lost; {} stops behind such steps, {} packets, are "
      "left "
      "out: their ways are not known\n",
      tree.lost_steps, tree.cut_stops, tree.cut_packets);
}

}  // namespace

std::string render_paths(const model::PathTree& tree, const PathsStyle& style) {
  if (tree.paths.empty()) return "no packet was seen\n" + lost_text(tree);
  std::string text = fmt::format("{} packets on {} paths", tree.packets(), tree.paths.size());
  text += style.verbose ? ", times are those since the hook before\n\n"
                        : ", between two hooks the times within which 50 / 99 % were there\n\n";
  const std::size_t shown = style.verbose ? tree.paths.size() : std::min(tree.paths.size(), kPathsShown);
  for (std::size_t index = 0; index < shown; ++index) {
    const model::PacketPath& path = tree.paths[index];
    text += path_headline(tree, path, style.color);
    text += (style.verbose ? unfolded(tree, path) : folded(tree, path)) + '\n';
  }
  if (shown < tree.paths.size()) {
    std::uint64_t rest = 0;
    for (std::size_t index = shown; index < tree.paths.size(); ++index) rest += tree.paths[index].packets;
    text += fmt::format("and {} more paths with {} packets (-v shows them)\n\n", tree.paths.size() - shown, rest);
  }
  text += copies_text(tree) + lost_text(tree);
  return text +
         fmt::format("Times are of all packets that came to a hook by the same way; quantiles are within {:.0f} %.\n",
                     DurationHistogram::kErrorPct);
}

}  // namespace weir::cli
