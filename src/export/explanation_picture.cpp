#include "export/explanation_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"

namespace weir::exporter {

namespace {

using explain::ExplainedEdge;
using explain::ExplainedNode;
using explain::Explanation;

std::string short_number(double value) {
  return std::isfinite(value) ? fmt::format("{:.4g}", value) : "?";
}

std::string dot_quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

std::string xml_escaped(const std::string& text) {
  std::string result;
  for (const char c : printable(text)) {
    switch (c) {
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '&':
        result += "&amp;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string metric_words(const ExplainedNode& node) {
  return fmt::format("{} {} (usually {})", node.metric, short_number(node.observed), short_number(node.expected));
}

/// White for none, red for all of the blame.
std::string color_of(double blame) {
  const int rest = static_cast<int>(std::lround(255 - 155 * std::clamp(blame, 0.0, 1.0)));
  return fmt::format("#ff{:02x}{:02x}", rest, rest);
}

/// Edges along which most passes are this wide.
constexpr double widest = 10;
double width_of(const ExplainedEdge& edge, double most) {
  return most > 0 ? std::max(1.0, widest * edge.amount / most) : 1.0;
}
double most_of(const Explanation& explanation) {
  double most = 0;
  for (const ExplainedEdge& edge : explanation.edges) most = std::max(most, edge.amount);
  return most;
}

constexpr int box_width = 300;
constexpr int box_height = 58;
constexpr int column_gap = 170;
constexpr int row_gap = 26;
constexpr int margin = 20;

struct Spot {
  int x = 0;
  int y = 0;
};

/// Steps from the symptom along edges; entities that none leads to stand in the second column.
std::map<std::string, int> columns_of(const Explanation& explanation) {
  std::map<std::string, int> columns{{explanation.entity, 0}};
  bool more = true;
  while (more) {
    more = false;
    for (const ExplainedEdge& edge : explanation.edges) {
      const auto from = columns.find(edge.from);
      if (from == columns.end() || columns.contains(edge.to)) continue;
      columns[edge.to] = from->second + 1;
      more = true;
    }
  }
  for (const ExplainedNode& node : explanation.nodes) columns.try_emplace(node.entity, 1);
  return columns;
}

std::string svg_edge(const ExplainedEdge& edge, const Spot& from, const Spot& to, double most) {
  const bool forward = to.x > from.x;
  const int x1 = forward ? from.x + box_width : from.x;
  const int x2 = forward ? to.x : to.x + box_width;
  const int y1 = from.y + box_height / 2;
  const int y2 = to.y + box_height / 2;
  const int bend = forward ? column_gap / 2 : -column_gap / 2;
  return fmt::format(
      "<path d=\"M{} {} C{} {} {} {} {} {}\" fill=\"none\" stroke=\"#777\" stroke-opacity=\"0.7\" "
      "stroke-width=\"{:.1f}\"{}>"
      "<title>{} from {}: {} {} ({})</title></path>\n"
      "<text x=\"{}\" y=\"{}\" font-size=\"11\" text-anchor=\"middle\" fill=\"#333\">{} {}</text>\n",
      x1, y1, x1 + bend, y1, x2 - bend, y2, x2, y2, width_of(edge, most),
      edge.proposed ? " stroke-dasharray=\"6 5\"" : "", xml_escaped(edge.from), xml_escaped(edge.to),
      short_number(edge.amount), edge.unit, edge.mechanism, (x1 + x2) / 2, (y1 + y2) / 2 - 6, short_number(edge.amount),
      edge.unit);
}

std::string svg_node(const ExplainedNode& node, const Spot& at, bool symptom) {
  constexpr std::size_t longest = 38;
  std::string name = node.entity;
  if (name.size() > longest) name = name.substr(0, longest - 3) + "...";
  return fmt::format(
      "<g><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\" fill=\"{}\" stroke=\"{}\" "
      "stroke-width=\"{}\"/>\n<text x=\"{}\" y=\"{}\" font-size=\"12\" font-weight=\"bold\">{}</text>\n"
      "<text x=\"{}\" y=\"{}\" font-size=\"11\">{}</text>\n<text x=\"{}\" y=\"{}\" font-size=\"11\">{}</text></g>\n",
      xml_escaped(node.entity), at.x, at.y, box_width, box_height, symptom ? "#eef4ff" : color_of(node.blame),
      symptom ? "#2457a6" : "#444", symptom ? 2 : 1, at.x + 8, at.y + 17, xml_escaped(name), at.x + 8, at.y + 34,
      xml_escaped(metric_words(node)), at.x + 8, at.y + 50,
      symptom ? "the symptom" : fmt::format("blame {:.1f} %", 100 * node.blame));
}

}  // namespace

std::string explanation_dot(const Explanation& explanation) {
  std::string text =
      "digraph explanation {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fontname=sans];\n";
  for (const ExplainedNode& node : explanation.nodes) {
    const bool symptom = node.entity == explanation.entity;
    text += fmt::format(
        "  {} [label={}, fillcolor=\"{}\"{}];\n", dot_quoted(node.entity),
        dot_quoted(fmt::format("{} / {} / blame {:.1f} %", node.entity, metric_words(node), 100 * node.blame)),
        symptom ? "#eef4ff" : color_of(node.blame), symptom ? ", penwidth=2" : "");
  }
  const double most = most_of(explanation);
  for (const ExplainedEdge& edge : explanation.edges) {
    text += fmt::format("  {} -> {} [label={}, penwidth={:.1f}{}];\n", dot_quoted(edge.from), dot_quoted(edge.to),
                        dot_quoted(fmt::format("{} {}", short_number(edge.amount), edge.unit)), width_of(edge, most),
                        edge.proposed ? ", style=dashed" : "");
  }
  return text + "}\n";
}

std::string explanation_svg(const Explanation& explanation) {
  const auto columns = columns_of(explanation);
  std::map<int, int> filled;
  std::map<std::string, Spot> places;
  Spot end;
  for (const ExplainedNode& node : explanation.nodes) {
    const int column = columns.at(node.entity);
    const Spot at{margin + column * (box_width + column_gap), 3 * margin + filled[column]++ * (box_height + row_gap)};
    places[node.entity] = at;
    end = {std::max(end.x, at.x + box_width), std::max(end.y, at.y + box_height)};
  }
  std::string text = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
      "<text x=\"{2}\" y=\"{3}\" font-size=\"15\">{4} {5}: {6}, usually {7}</text>\n",
      std::max(end.x, 600) + margin, end.y + margin + 3 * margin, margin, 2 * margin - 6,
      xml_escaped(explanation.entity), xml_escaped(explanation.metric), short_number(explanation.observed),
      short_number(explanation.expected));
  const double most = most_of(explanation);
  for (const ExplainedEdge& edge : explanation.edges) {
    text += svg_edge(edge, places.at(edge.from), places.at(edge.to), most);
  }
  for (const ExplainedNode& node : explanation.nodes) {
    text += svg_node(node, places.at(node.entity), node.entity == explanation.entity);
  }
  const std::string words = explanation.causes.empty()
                                ? "no cause is named"
                                : fmt::format("{:.1f} % stays at the symptom itself or comes from outside this graph",
                                              100 * explanation.unexplained);
  text += fmt::format("<text x=\"{}\" y=\"{}\" font-size=\"12\" fill=\"#555\">{}</text>\n</svg>\n", margin,
                      end.y + 2 * margin, words);
  return text;
}

}  // namespace weir::exporter
