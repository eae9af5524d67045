#include <nlohmann/json.hpp>

#include "base/units.h"
#include "model/json.h"

namespace weir::model {

using Json = nlohmann::ordered_json;

namespace {

Json processes_json(const std::vector<ProcessRef>& processes) {
  Json rows = Json::array();
  for (const ProcessRef& process : processes) rows.push_back({{"pid", process.pid}, {"comm", process.comm}});
  return rows;
}

Json holders_json(const std::vector<HolderRef>& holders) {
  Json rows = Json::array();
  for (const HolderRef& holder : holders) {
    rows.push_back({{"pid", holder.pid}, {"fd", holder.fd}, {"kind", holder.kind}});
  }
  return rows;
}

Json namespace_json(const NamespaceState& state, const std::string& boot_id) {
  const Json workload = state.workload ? to_json(*state.workload) : Json(nullptr);
  return {{"id", state.id},
          {"boot_id", boot_id},
          {"inode", state.inode},
          {"name", state.display},
          {"names", state.names},
          {"mounts", state.mounts},
          {"pids", state.pids},
          {"processes", processes_json(state.processes)},
          {"threads", processes_json(state.threads)},
          {"held_by", holders_json(state.holders)},
          {"workload", workload},
          {"devices", state.devices ? Json(*state.devices) : Json(nullptr)},
          {"sockets", state.sockets ? Json(*state.sockets) : Json(nullptr)},
          {"since", state.since ? Json(format_utc(*state.since)) : Json(nullptr)},
          {"since_source", state.since ? Json(state.since_source) : Json(nullptr)}};
}

}  // namespace

Json to_json(const WorkloadRef& workload) {
  const auto if_any = [](const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); };
  return {{"kind", workload.kind},
          {"name", workload.name},
          {"id", workload.id},
          {"pod", if_any(workload.pod)},
          {"runtime", if_any(workload.runtime)}};
}

Json to_json(const NamespaceList& list) {
  Json rows = Json::array();
  for (const NamespaceState& state : list.namespaces) rows.push_back(namespace_json(state, list.boot_id));
  return {{"schema", "weir.netns/1"}, {"namespaces", rows}, {"unreadable", list.unreadable}, {"hidden", list.hidden}};
}

Json to_json(const NamespaceEvent& event) {
  Json row = {{"schema", "weir.netns_event/1"}, {"time", format_utc(event.time)}, {"event", event.kind}};
  if (event.kind == "resync") return row;
  row["id"] = event.id;
  row["name"] = event.name;
  row["names"] = event.names;
  row["existing"] = event.existing;
  return row;
}

}  // namespace weir::model
