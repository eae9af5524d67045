#include "model/footprint_json.h"

#include <cmath>

#include "model/json_writer.h"

namespace weir::model {

namespace {

/// JSON has no other numbers than finite ones; nobody needs more than six digits of a measurement.
void real(JsonWriter& to, const char* name, double value) {
  to.key(name);
  to.raw(fmt::format("{:.6g}", std::isfinite(value) ? value : 0.0));
}

void maybe_real(JsonWriter& to, const char* name, const std::optional<double>& value) {
  if (value) return real(to, name, *value);
  to.key(name);
  to.null();
}

void write_quantiles(JsonWriter& to, const char* name, const FootprintQuantiles& quantiles) {
  to.object(name, [&] {
    real(to, "p50", quantiles.p50);
    real(to, "p95", quantiles.p95);
    real(to, "p99", quantiles.p99);
    real(to, "max", quantiles.max);
  });
}

void write_vector(JsonWriter& to, const Footprint& print) {
  to.field("horizon", print.horizon);
  to.field("span_ns", print.span.count());
  to.field("windows", print.windows);
  real(to, "confidence", print.confidence);
  to.field("bytes", print.bytes);
  to.field("wire_packets", print.packets);
  real(to, "mean_bps", print.mean_bps);
  write_quantiles(to, "throughput_bps", print.throughput_bps);
  real(to, "packets_per_s_p95", print.packets_per_s_p95);
  real(to, "mean_packet_bytes", print.mean_packet_bytes);
  real(to, "flow_arrivals_per_s", print.flow_arrivals_per_s);
  real(to, "concurrent_flows_p95", print.concurrent_flows_p95);
  to.field("flows_ended", print.flows_ended);
  write_quantiles(to, "flow_size_bytes", print.flow_bytes);
  write_quantiles(to, "flow_duration_s", print.flow_seconds);
  real(to, "elephant_byte_share", print.elephant_byte_share);
  real(to, "elephant_flows", std::round(print.elephant_flows));
  to.object("burstiness", [&] {
    real(to, "variation", print.bursts.variation);
    real(to, "idle_share", print.bursts.idle_share);
    real(to, "p99_over_mean", print.bursts.p99_over_mean);
    to.field("bursts", print.bursts.bursts);
    maybe_real(to, "period_s", print.bursts.period_s);
  });
  real(to, "peers", std::round(print.peers));
  real(to, "same_host_share", print.same_host_share);
  real(to, "top5_peers_share", print.top5_share);
  maybe_real(to, "srtt_us_p50", print.srtt_us_p50);
  maybe_real(to, "srtt_us_p99", print.srtt_us_p99);
  maybe_real(to, "retransmit_share", print.retransmit_share);
  real(to, "small_message_share", print.small_message_share);
  real(to, "new_connection_share", print.new_connection_share);
  real(to, "heavy_byte_share", print.features.heavy_byte_share);
  real(to, "light_packet_share", print.features.light_packet_share);
}

void write_bursts(JsonWriter& to, const MillisecondBursts& bursts) {
  to.field("device", bursts.device ? std::optional(to_string(*bursts.device)) : std::nullopt);
  to.field("milliseconds", bursts.milliseconds);
  to.field("bytes", bursts.bytes);
  real(to, "mean_bps", bursts.mean_bps);
  real(to, "p99_bps", bursts.p99_bps);
  real(to, "max_bps", bursts.max_bps);
  real(to, "p99_over_mean", bursts.p99_over_mean);
  real(to, "bursts_per_s", bursts.bursts_per_s);
  real(to, "idle_share", bursts.idle_share);
  real(to, "variation", bursts.variation);
  maybe_real(to, "period_ms", bursts.period_ms);
}

}  // namespace

std::string footprint_line(const WorkloadFootprint& footprint) {
  const FootprintKey& key = footprint.key;
  JsonWriter to;
  to.object([&] {
    to.field("schema", "weir.footprint/1");
    to.object("workload", [&] {
      to.field("kind", key.kind);
      to.field("name", key.name);
      to.field("id", key.id);
      to.field("image", key.image.empty() ? std::nullopt : std::optional(key.image));
    });
    to.field("direction", to_string(key.direction));
    to.field("class", to_string(footprint.verdict.footprint_class));
    real(to, "class_confidence", footprint.verdict.confidence);
    to.field("reason", footprint.verdict.reason);
    to.field("age_ns", footprint.age.count());
    to.array("horizons", [&] {
      for (const Footprint& print : footprint.horizons) {
        to.item();
        to.object([&] { write_vector(to, print); });
      }
    });
    if (footprint.bursts) to.object("millisecond_bursts", [&] { write_bursts(to, *footprint.bursts); });
  });
  return std::move(to).take();
}

}  // namespace weir::model
