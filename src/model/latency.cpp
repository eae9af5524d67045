#include "model/latency.h"

#include <nlohmann/json.hpp>

#include "model/paths_json.h"
#include "model/trace_json.h"

namespace weir::model {

namespace {

nlohmann::ordered_json buckets_json(const DurationHistogram& time) {
  auto buckets = nlohmann::ordered_json::array();
  for (std::size_t bucket = 0; bucket < DurationHistogram::kBuckets; ++bucket) {
    if (time.buckets()[bucket] == 0) continue;
    buckets.push_back({{"from_ns", DurationHistogram::bucket_begin_ns(bucket)}, {"count", time.buckets()[bucket]}});
  }
  return buckets;
}

}  // namespace

const char* to_string(Stretch stretch) {
  switch (stretch) {
    case Stretch::qdisc:
      return "qdisc";
    case Stretch::driver:
      return "driver";
    case Stretch::softirq:
      return "softirq";
    case Stretch::routing:
      return "routing";
    case Stretch::netfilter:
      return "netfilter";
    case Stretch::forwarding:
      return "forwarding";
    case Stretch::socket:
      return "socket";
    case Stretch::total:
      break;
  }
  return "total";
}

nlohmann::ordered_json latency_json(const std::vector<StretchTimes>& times, const TraceSummary& summary) {
  nlohmann::ordered_json document{{"schema", "weir.trace_latency/1"},
                                  {"quantile_error_pct", DurationHistogram::kErrorPct}};
  document["stretches"] = nlohmann::ordered_json::array();
  for (const StretchTimes& one : times) {
    nlohmann::ordered_json row{{"stretch", to_string(one.stretch)}};
    if (!one.hook.empty()) row["hook"] = one.hook;
    row["netns"] = one.device.netns.name;
    row["dev"] = one.device.name;
    row["count"] = one.time.count();
    row.update(duration_json(one.time));
    row["buckets"] = buckets_json(one.time);
    document["stretches"].push_back(std::move(row));
  }
  document["summary"] = to_json(summary);
  return document;
}

}  // namespace weir::model
