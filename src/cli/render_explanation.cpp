#include "cli/render_explanation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"
#include "reason/explain/explanation_json.h"

namespace weir::cli {

namespace {

using explain::Cause;
using explain::ExplainedCase;
using explain::ExplainedEdge;
using explain::Explanation;

std::string bold(const std::string& text, bool color) {
  return color ? "\033[1m" + text + "\033[0m" : text;
}

/// Four digits that matter, without an exponent where it can be had.
std::string amount(double value) {
  if (!std::isfinite(value)) return "?";
  const double size = std::abs(value);
  return size >= 1e6 || (size > 0 && size < 1e-4) ? fmt::format("{:.3g}", value) : fmt::format("{:.4g}", value);
}

std::string lead_words(double lead_s) {
  if (lead_s == 0) return "";
  return lead_s > 0 ? fmt::format(", {} s before the symptom", amount(lead_s))
                    : fmt::format(", {} s after the symptom", amount(-lead_s));
}

void write_cause(std::string& text, const Explanation& explanation, const Cause& cause, std::size_t rank, bool color) {
  text += fmt::format("{:>3}. {}  {:.0f} % of it\n", rank, bold(printable(cause.entity), color), 100 * cause.blame);
  text += fmt::format("     {} {} (usually {}){}\n", printable(cause.metric), amount(cause.observed),
                      amount(cause.expected), lead_words(cause.lead_s));
  if (!cause.mechanism.empty()) text += fmt::format("     how: what depends on it {}\n", cause.mechanism);
  text += fmt::format("     without it {} would be {} (p = {:.2g})\n", printable(explanation.metric),
                      amount(cause.symptom_without), cause.p_value);
  for (const std::string& change : cause.changes) text += fmt::format("     changed: {}\n", printable(change));
}

}  // namespace

std::string render_explanation(const Explanation& explanation, bool color) {
  std::string text = fmt::format("{} {}: {} since {}, usually {}\n", bold(printable(explanation.entity), color),
                                 printable(explanation.metric), amount(explanation.observed),
                                 explain::time_text(explanation.since_s), amount(explanation.expected));
  if (explanation.causes.empty()) {
    text += "\nNo cause is named.\n";
  } else {
    text += "\nMost likely from:\n";
    for (std::size_t i = 0; i < explanation.causes.size(); ++i) {
      write_cause(text, explanation, explanation.causes[i], i + 1, color);
    }
    text += fmt::format("     {:.0f} % stays at {} itself or comes from outside this graph\n",
                        100 * std::max(0.0, explanation.unexplained), printable(explanation.entity));
  }
  if (!explanation.edges.empty()) {
    text += "\nHow it adds up:\n";
    for (const ExplainedEdge& edge : explanation.edges) {
      text += fmt::format("  {} <- {}: {} {}{}\n", printable(edge.from), printable(edge.to), amount(edge.amount),
                          edge.unit, edge.proposed ? " (no such edge in the graph: proposed)" : "");
    }
  }
  if (!explanation.rivals.empty()) {
    text += "\nNot the cause:\n";
    for (const auto& rival : explanation.rivals) {
      text += fmt::format("  {}: {}\n", printable(rival.entity), printable(rival.reason));
    }
  }
  if (!explanation.notes.empty()) {
    text += "\n";
    for (const std::string& note : explanation.notes) text += fmt::format("Note: {}\n", note);
  }
  return text;
}

namespace {

struct Tally {
  std::size_t cases = 0;
  std::size_t first = 0;
  std::size_t third = 0;
  std::size_t windows = 0;
  std::size_t silent = 0;
  std::vector<double> seconds;
};

void count(Tally& tally, const ExplainedCase& explained) {
  tally.seconds.push_back(explained.seconds);
  if (!explained.truth) {
    ++tally.windows;
    tally.silent += explained.causes.empty() ? 1 : 0;
    return;
  }
  ++tally.cases;
  const auto at = std::ranges::find(explained.causes, *explained.truth) - explained.causes.begin();
  if (at == std::ssize(explained.causes)) return;
  tally.first += at < 1 ? 1 : 0;
  tally.third += at < 3 ? 1 : 0;
}

std::string share(std::size_t part, std::size_t whole) {
  return whole == 0 ? "-" : fmt::format("{:.3f}", static_cast<double>(part) / static_cast<double>(whole));
}

}  // namespace

std::string render_data_set(const std::vector<ExplainedCase>& cases) {
  // By scenario and symptom, in the order in which they came; engines within.
  std::vector<std::pair<std::string, explain::Engine>> order;
  std::map<std::pair<std::string, explain::Engine>, Tally> tallies;
  for (const ExplainedCase& explained : cases) {
    const std::pair key{explained.scenario + " " + explained.symptom, explained.engine};
    if (!tallies.contains(key)) order.push_back(key);
    count(tallies[key], explained);
  }
  std::ranges::stable_sort(order);
  std::string text = fmt::format("{:<40} {:<15} {:>5} {:>9} {:>9} {:>8} {:>9} {:>9}\n", "scenario, symptom", "engine",
                                 "cases", "recall@1", "recall@3", "healthy", "silent", "ms");
  for (const auto& key : order) {
    Tally& tally = tallies[key];
    const auto middle = tally.seconds.begin() + static_cast<std::ptrdiff_t>(tally.seconds.size() / 2);
    std::ranges::nth_element(tally.seconds, middle);
    text += fmt::format("{:<40} {:<15} {:>5} {:>9} {:>9} {:>8} {:>9} {:>9.2f}\n", key.first, to_string(key.second),
                        tally.cases, share(tally.first, tally.cases), share(tally.third, tally.cases), tally.windows,
                        share(tally.silent, tally.windows), 1000 * *middle);
  }
  return text;
}

}  // namespace weir::cli
