#include "model/paths_json.h"

#include <nlohmann/json.hpp>

#include "model/trace_json.h"

namespace weir::model {

namespace {

nlohmann::ordered_json place_json(const std::string& hook, const DeviceRef& device, const std::string& drop_reason) {
  nlohmann::ordered_json place{{"hook", hook}, {"netns", device.netns.name}, {"dev", device.name}};
  if (!drop_reason.empty()) place["drop_reason"] = drop_reason;
  return place;
}

nlohmann::ordered_json stop_json(const PathStop& stop) {
  auto document = place_json(stop.hook, stop.device, stop.drop_reason);
  document["packets"] = stop.packets;
  if (stop.part) document["part"] = true;
  if (stop.before) document.update(duration_json(stop.time));
  return document;
}

nlohmann::ordered_json path_json(const PathTree& tree, const PacketPath& path) {
  const std::uint64_t all = tree.packets();
  nlohmann::ordered_json document{
      {"packets", path.packets},
      {"share_pct", all == 0 ? 0.0 : 100.0 * static_cast<double>(path.packets) / static_cast<double>(all)},
      {"end", to_string(path.end)},
      {"mean_ns", tree.mean_ns(path)}};
  document["stops"] = nlohmann::ordered_json::array();
  for (const std::size_t stop : path.stops) document["stops"].push_back(stop_json(tree.stops[stop]));
  return document;
}

}  // namespace

nlohmann::ordered_json duration_json(const DurationHistogram& time) {
  return {{"mean_ns", time.mean_ns()},
          {"p50_ns", time.quantile_ns(0.5)},
          {"p90_ns", time.quantile_ns(0.9)},
          {"p99_ns", time.quantile_ns(0.99)},
          {"max_ns", time.max_ns()}};
}

nlohmann::ordered_json to_json(const PathTree& tree, const TraceSummary& summary) {
  nlohmann::ordered_json document{{"schema", "weir.trace_paths/1"},
                                  {"packets", tree.packets()},
                                  {"quantile_error_pct", DurationHistogram::kErrorPct}};
  document["paths"] = nlohmann::ordered_json::array();
  for (const PacketPath& path : tree.paths) document["paths"].push_back(path_json(tree, path));
  document["copies"] = nlohmann::ordered_json::array();
  for (const CopyStop& copy : tree.copies) {
    auto one = place_json(copy.hook, copy.device, copy.drop_reason);
    one["packets"] = copy.packets;
    document["copies"].push_back(std::move(one));
  }
  document["lost"] = {{"steps", tree.lost_steps}, {"cut_stops", tree.cut_stops}, {"cut_packets", tree.cut_packets}};
  document["summary"] = to_json(summary);
  return document;
}

}  // namespace weir::model
