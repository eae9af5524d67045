#include "reason/explain/explanation_json.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

namespace weir::explain {

namespace {

using Json = nlohmann::ordered_json;

/// Times below are counted from somewhere else than 1970.
constexpr double least_unix_time = 1e8;

/// JSON has no NaN.
Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

Json cause_json(const Cause& cause, std::size_t rank) {
  return {{"rank", rank},
          {"entity", cause.entity},
          {"metric", cause.metric},
          {"blame", cause.blame},
          {"p_value", number(cause.p_value)},
          {"mechanism", cause.mechanism},
          {"observed", number(cause.observed)},
          {"expected", number(cause.expected)},
          {"lead_s", cause.lead_s},
          {"symptom_without", number(cause.symptom_without)},
          {"changes", cause.changes}};
}

}  // namespace

std::string time_text(double time_s) {
  if (std::abs(time_s) < least_unix_time) return fmt::format("{}", time_s);
  const std::chrono::sys_seconds when{std::chrono::seconds(std::llround(time_s))};
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(when)));
}

nlohmann::ordered_json to_json(const Explanation& explanation) {
  Json causes = Json::array();
  for (std::size_t i = 0; i < explanation.causes.size(); ++i) {
    causes.push_back(cause_json(explanation.causes[i], i + 1));
  }
  Json nodes = Json::array();
  for (const ExplainedNode& node : explanation.nodes) {
    nodes.push_back({{"entity", node.entity},
                     {"metric", node.metric},
                     {"observed", number(node.observed)},
                     {"expected", number(node.expected)},
                     {"blame", node.blame}});
  }
  Json edges = Json::array();
  for (const ExplainedEdge& edge : explanation.edges) {
    edges.push_back({{"from", edge.from},
                     {"to", edge.to},
                     {"amount", edge.amount},
                     {"unit", edge.unit},
                     {"mechanism", edge.mechanism},
                     {"lead_s", edge.lead_s},
                     {"proposed", edge.proposed}});
  }
  Json rivals = Json::array();
  for (const Rival& rival : explanation.rivals) rivals.push_back({{"entity", rival.entity}, {"reason", rival.reason}});
  return {{"schema", "weir.explanation/1"},
          {"symptom",
           {{"entity", explanation.entity},
            {"metric", explanation.metric},
            {"observed", number(explanation.observed)},
            {"expected", number(explanation.expected)},
            {"since", time_text(explanation.since_s)},
            {"since_s", explanation.since_s}}},
          {"engine", to_string(explanation.engine)},
          {"causes", std::move(causes)},
          {"p_value", number(explanation.p_value)},
          {"unexplained", explanation.unexplained},
          {"graph", {{"nodes", std::move(nodes)}, {"edges", std::move(edges)}}},
          {"rejected", std::move(rivals)},
          {"notes", explanation.notes}};
}

nlohmann::ordered_json to_json(const ExplainedCase& explained) {
  Json document{{"schema", "weir.explained_case/1"},     {"case", explained.name},
                {"engine", to_string(explained.engine)}, {"causes", explained.causes},
                {"p_value", number(explained.p_value)},  {"seconds", explained.seconds},
                {"symptom", explained.symptom},          {"truth", explained.truth ? Json(*explained.truth) : Json()}};
  if (!explained.metrics.empty()) document["metrics"] = explained.metrics;
  if (!explained.notes.empty()) document["notes"] = explained.notes;
  return document;
}

}  // namespace weir::explain
