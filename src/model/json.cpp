#include "model/json.h"

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "model/queue_schema.h"

namespace weir::model {

using Json = nlohmann::ordered_json;

namespace {

/// A key that a schema declares; a name that it does not have does not compile.
template <const Table& table>
consteval const char* key(std::string_view name) {
  return table.columns[table.column(name)].name.data();
}

Json subject_json(EntityKind kind, const DeviceRef& device) {
  return {{"kind", to_string(kind)}, {"name", device.name}, {"netns", device.netns.name}};
}

Json counts_json(const std::vector<QueueCount>& counts) {
  Json rows = Json::array();
  for (const QueueCount& count : counts) {
    rows.push_back({{key<kQueueTable>("queue"), count.queue},
                    {key<kQueueTable>("packets"), count.packets},
                    {key<kQueueTable>("bytes"), count.bytes},
                    {key<kQueueTable>("wire_packets"), count.wire_packets}});
  }
  return rows;
}

Json chosen_by_json(const TxSample& sample) {
  Json shares = Json::object();
  for (std::size_t rule = 0; rule < kQueueRuleCount; ++rule) {
    const double share =
        sample.sampled == 0 ? 0 : static_cast<double>(sample.chosen_by[rule]) / static_cast<double>(sample.sampled);
    shares[to_string(static_cast<QueueRule>(rule))] = share;
  }
  return shares;
}

Json origins_json(const TxSample& sample) {
  Json rows = Json::array();
  for (const OriginCount& origin : sample.origins) {
    const double share =
        sample.sampled == 0 ? 0 : static_cast<double>(origin.sampled()) / static_cast<double>(sample.sampled);
    rows.push_back({{"dev", origin.origin.name},
                    {"netns", origin.origin.netns.name},
                    {"share", share},
                    {"sampled_per_queue", origin.per_queue}});
  }
  return rows;
}

}  // namespace

std::string to_text(const Json& document, int indent) {
  return document.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json to_json(const Capabilities& capabilities) {
  Json rungs = Json::array();
  for (const Rung& rung : capabilities.rungs) {
    rungs.push_back(
        {{"name", rung.name}, {"available", rung.available}, {"reason", rung.reason}, {"without_it", rung.without_it}});
  }
  return {{"schema", "weir.capabilities/1"}, {"kernel", capabilities.kernel}, {"rungs", rungs}};
}

Json to_json(const Plan& plan) {
  Json steps = Json::array();
  for (const PlanStep& step : plan.steps) {
    steps.push_back({{"what", step.what}, {"command", step.command}, {"undo_command", step.undo_command}});
  }
  return {{"kind", plan.kind},
          {"subject", {{"netns", plan.subject.netns.name}, {"dev", plan.subject.name}}},
          {"title", plan.title},
          {"steps", steps},
          {"expected_effect", plan.expected_effect},
          {"warnings", plan.warnings}};
}

Json to_json(const Refusal& refusal) {
  return {{"reason", refusal.reason}, {"instead", refusal.instead}};
}

Json to_json(const Finding& finding) {
  Json culprits = Json::array();
  for (const Culprit& culprit : finding.culprits) {
    Json row = subject_json(culprit.kind, culprit.device);
    row["share"] = culprit.share;
    culprits.push_back(row);
  }
  Json evidence = Json::array();
  for (const Evidence& fact : finding.evidence) {
    Json row{{"what", fact.what}, {"value", fact.value}, {"unit", fact.unit}};
    if (fact.expected) row["expected"] = *fact.expected;
    evidence.push_back(row);
  }
  Json fix{{"command", finding.fix.command}, {"undo", finding.fix.undo}};
  if (!finding.fix.advice.empty()) fix["advice"] = finding.fix.advice;
  return {{"id", finding.id},
          {"severity", to_string(finding.severity)},
          {"title", finding.title},
          {"cause", finding.cause},
          {"mechanism", finding.mechanism},
          {"subject", subject_json(finding.subject_kind, finding.subject)},
          {"culprits", culprits},
          {"evidence", evidence},
          {"changed_at", finding.changed_at},
          {"confidence", finding.confidence},
          {"fix", fix},
          {"notes", finding.notes},
          {"docs", finding.docs()}};
}

std::string flow_finding_line(const Finding& finding) {
  Json line{{"schema", "weir.flow_finding/1"}};
  line.update(to_json(finding));
  return line.dump();
}

Json doctor_json(const HostObservation& observation, const Capabilities& capabilities,
                 const std::vector<Finding>& findings) {
  Json rungs = Json::object();
  for (const Rung& rung : capabilities.rungs) rungs[rung.name] = rung.available;
  Json list = Json::array();
  for (const Finding& finding : findings) list.push_back(to_json(finding));
  Json vanished = Json::array();
  for (const DeviceObservation& seen : observation.devices) {
    if (seen.vanished) vanished.push_back({{"netns", seen.device.netns.name}, {"dev", seen.device.name}});
  }
  return {{"schema", "weir.doctor/1"},
          {"host", observation.config.hostname},
          {"window", {{"start", format_utc(observation.start)}, {"duration_ns", observation.duration.count()}}},
          {"capabilities", rungs},
          {"accounting",
           {{"packets_seen", observation.accounting.packets_seen},
            {"packets_lost", observation.accounting.packets_lost},
            {"events_lost", observation.accounting.events_lost}}},
          {"vanished", vanished},
          {"findings", list}};
}

Json queues_json(const HostConfig& config, const std::vector<DeviceObservation>& observations) {
  Json devices = Json::array();
  for (const DeviceObservation& observation : observations) {
    const QueueWindow sum = total(observation.windows);
    const DeviceConfig* device = config.find(observation.device);
    devices.push_back({{"netns", observation.device.netns.name},
                       {"dev", observation.device.name},
                       {key<kDeviceQueueTable>("duration_ns"), sum.duration.count()},
                       {"tx", counts_json(sum.tx)},
                       {"rx", counts_json(sum.rx)},
                       {key<kDeviceQueueTable>("tx_effective_queues"), effective_queues(sum.tx)},
                       {key<kDeviceQueueTable>("tx_real_queues"), device == nullptr ? 0 : device->real_tx_queues},
                       {key<kDeviceQueueTable>("rx_real_queues"), device == nullptr ? 0 : device->real_rx_queues},
                       {"chosen_by", chosen_by_json(sum.sample)},
                       {key<kDeviceQueueTable>("sampled_packets"), sum.sample.sampled},
                       {"recorded_exactly", observation.before_pick_seen},
                       {"origins", origins_json(sum.sample)},
                       {"vanished", observation.vanished}});
  }
  return {{"schema", "weir.queues/1"}, {"devices", devices}};
}

}  // namespace weir::model
