#include "lab/blueprint.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace weir::lab {

using Json = nlohmann::ordered_json;

namespace {

Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

Json to_json(const ExpectedDrop& drop) {
  return {{"netns", drop.netns},
          {"reasons", drop.reasons},
          {"rule_comment", or_null(drop.rule_comment)},
          {"finding", drop.finding},
          {"cause", drop.cause}};
}

Json to_json(const ExpectedJourney& journey) {
  const auto port = [](std::uint16_t number) { return number == 0 ? Json(nullptr) : Json(number); };
  return {{"name", journey.name},
          {"from", journey.from},
          {"source", journey.source},
          {"destination", journey.destination},
          {"protocol", journey.protocol},
          {"port", port(journey.port)},
          {"path", journey.path},
          {"source_at_end", or_null(journey.source_at_end)},
          {"destination_at_end", or_null(journey.destination_at_end)},
          {"port_at_end", port(journey.port_at_end)},
          {"traffic", journey.traffic},
          {"drop", journey.drop ? to_json(*journey.drop) : Json(nullptr)}};
}

}  // namespace

const NamespacePlan& Blueprint::at(const std::string& role) const {
  return *std::ranges::find(namespaces, role, &NamespacePlan::role);
}

Json to_json(const Blueprint& blueprint) {
  Json namespaces = Json::object();
  for (const NamespacePlan& netns : blueprint.namespaces) namespaces[netns.role] = netns.name;
  Json devices = Json::array();
  for (const DevicePlan& device : blueprint.devices) {
    devices.push_back(
        {{"netns", device.netns}, {"dev", device.dev}, {"role", device.role}, {"tx_queues", device.tx_queues}});
  }
  const Expectation& expect = blueprint.expect;
  Json expected{{"finding", expect.findings.empty() ? Json(nullptr) : Json(expect.findings.front())},
                {"findings", expect.findings},
                {"causes", expect.causes},
                {"subject", or_null(expect.subject)},
                {"culprit", or_null(expect.culprit)},
                {"tx_shares", expect.tx_shares}};
  Json journeys = Json::array();
  for (const ExpectedJourney& journey : blueprint.journeys) journeys.push_back(to_json(journey));
  return {{"schema", "weir.lab/1"},   {"scenario", blueprint.scenario},
          {"truth", blueprint.truth}, {"namespaces", namespaces},
          {"devices", devices},       {"expect", expected},
          {"journeys", journeys}};
}

}  // namespace weir::lab
