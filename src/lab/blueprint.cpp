#include "lab/blueprint.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace weir::lab {

using Json = nlohmann::ordered_json;

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
  const auto or_null = [](const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); };
  Json expected{{"finding", expect.findings.empty() ? Json(nullptr) : Json(expect.findings.front())},
                {"findings", expect.findings},
                {"causes", expect.causes},
                {"subject", or_null(expect.subject)},
                {"culprit", or_null(expect.culprit)},
                {"tx_shares", expect.tx_shares}};
  return {{"schema", "weir.lab/1"},   {"scenario", blueprint.scenario},
          {"truth", blueprint.truth}, {"namespaces", namespaces},
          {"devices", devices},       {"expect", expected}};
}

}  // namespace weir::lab
