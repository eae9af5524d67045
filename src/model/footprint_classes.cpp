#include "model/footprint_classes.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"

namespace weir::model {

namespace {

enum class Feature : std::uint8_t { activity, burstiness, heavy, light };

/// A rule: the class fits not at all at `never` and wholly at `fully`, and in between in proportion. A class fits as
/// well as the rule that it fulfils worst.
struct ClassRule {
  FootprintClass footprint_class;
  Feature feature;
  double never;
  double fully;
};

// Activity 1: 5 packets/s or 50 kbit/s; keep-alives, ARP and one ping a second stay below 0.4.
constexpr std::array kClassRules{
    ClassRule{FootprintClass::idle, Feature::activity, 1.0, 0.4},
    ClassRule{FootprintClass::bulk, Feature::activity, 0.4, 1.0},
    ClassRule{FootprintClass::bulk, Feature::burstiness, 1.0, 0.6},
    ClassRule{FootprintClass::bulk, Feature::heavy, 0.5, 0.8},
    ClassRule{FootprintClass::bulk, Feature::light, 0.3, 0.1},
    ClassRule{FootprintClass::latency_sensitive, Feature::activity, 0.4, 1.0},
    ClassRule{FootprintClass::latency_sensitive, Feature::burstiness, 1.0, 0.6},
    ClassRule{FootprintClass::latency_sensitive, Feature::heavy, 0.3, 0.1},
    ClassRule{FootprintClass::latency_sensitive, Feature::light, 0.4, 0.7},
    ClassRule{FootprintClass::bursty, Feature::activity, 0.4, 1.0},
    ClassRule{FootprintClass::bursty, Feature::burstiness, 0.6, 1.0},
    ClassRule{FootprintClass::mixed, Feature::activity, 0.4, 1.0},
    ClassRule{FootprintClass::mixed, Feature::burstiness, 1.0, 0.6},
    ClassRule{FootprintClass::mixed, Feature::heavy, 0.1, 0.3},
    ClassRule{FootprintClass::mixed, Feature::light, 0.1, 0.3},
};

constexpr double kActivePackets = 5;
constexpr double kActiveBps = 50e3;
constexpr double kAcknowledgesRatio = 16;
constexpr double kAcknowledgementBytes = 128;
/// Requests: more than acknowledgements in size, and no fewer than half of what answers them.
constexpr double kRequestBytes = 100;
constexpr double kRequestsRatio = 0.5;
constexpr double kFewWindows = 10;  // so many samples and more are enough
constexpr double kLeastFit = 0.25;  // traffic that fits nothing better is mixed

double value_of(Feature feature, const FootprintFeatures& features) {
  switch (feature) {
    case Feature::activity:
      return std::max(features.packets_per_s / kActivePackets, features.rate_bps / kActiveBps);
    case Feature::burstiness:
      return features.burstiness;
    case Feature::heavy:
      return features.heavy_byte_share;
    case Feature::light:
      return features.light_packet_share;
  }
  return 0;
}

double fit(const ClassRule& rule, const FootprintFeatures& features) {
  return std::clamp((value_of(rule.feature, features) - rule.never) / (rule.fully - rule.never), 0.0, 1.0);
}

std::string reason_of(FootprintClass footprint_class, const FootprintFeatures& features) {
  const double heavy = 100 * features.heavy_byte_share;
  const double light = 100 * features.light_packet_share;
  switch (footprint_class) {
    case FootprintClass::idle:
      return fmt::format("{:.1f} packets/s, {}", features.packets_per_s, format_bit_rate(features.rate_bps));
    case FootprintClass::bulk:
      return fmt::format("{:.0f} % of the bytes in heavy flows, variation {:.2f}", heavy, features.burstiness);
    case FootprintClass::latency_sensitive:
      return fmt::format("{:.0f} % of the packets in flows of small ones, {:.0f} % of the bytes in heavy flows", light,
                         heavy);
    case FootprintClass::bursty:
      return fmt::format("variation {:.2f} of the throughput over several bursts", features.burstiness);
    case FootprintClass::mixed:
      return fmt::format("{:.0f} % of the bytes in heavy flows, {:.0f} % of the packets in flows of small ones", heavy,
                         light);
  }
  return {};
}

bool acknowledges(const FootprintFeatures& features, const FootprintVerdict* opposite) {
  return opposite != nullptr && features.opposite_ratio >= kAcknowledgesRatio &&
         features.mean_packet_bytes < kAcknowledgementBytes && opposite->footprint_class != FootprintClass::idle;
}

/// Large packets that each answer a small one, or are answered by it: a dialogue, whose class is that of its small
/// ones.
bool answers(const FootprintFeatures& features, const FootprintVerdict* opposite) {
  if (opposite == nullptr || opposite->footprint_class != FootprintClass::latency_sensitive) return false;
  const double opposite_packet_bytes =
      features.opposite_ratio * features.mean_packet_bytes / std::max(1e-9, features.opposite_packets_ratio);
  return features.opposite_packets_ratio >= kRequestsRatio && opposite_packet_bytes >= kRequestBytes;
}

}  // namespace

const char* to_string(FootprintClass footprint_class) {
  switch (footprint_class) {
    case FootprintClass::idle:
      return "idle";
    case FootprintClass::bulk:
      return "bulk";
    case FootprintClass::latency_sensitive:
      return "latency-sensitive";
    case FootprintClass::bursty:
      return "bursty";
    case FootprintClass::mixed:
      return "mixed";
  }
  return "mixed";
}

FootprintScores footprint_scores(const FootprintFeatures& features) {
  FootprintScores scores;
  scores.fill(1);
  for (const ClassRule& rule : kClassRules) {
    double& score = scores[static_cast<std::size_t>(rule.footprint_class)];
    score = std::min(score, fit(rule, features));
  }
  if (std::ranges::max(scores) < kLeastFit) scores[static_cast<std::size_t>(FootprintClass::mixed)] = kLeastFit;
  return scores;
}

FootprintVerdict classify(const FootprintFeatures& features, const FootprintVerdict* opposite) {
  const double samples = std::min(1.0, static_cast<double>(features.windows) / kFewWindows);
  if (acknowledges(features, opposite)) {
    return {opposite->footprint_class, opposite->confidence,
            fmt::format("acknowledges the other direction, which has {:.0f} times its bytes", features.opposite_ratio)};
  }
  if (answers(features, opposite)) {
    return {opposite->footprint_class, opposite->confidence,
            fmt::format("a dialogue: {:.1f} packets of the other direction for each of this one",
                        features.opposite_packets_ratio)};
  }
  const FootprintScores scores = footprint_scores(features);
  const auto best = std::ranges::max_element(scores);
  double second = 0;
  for (auto other = scores.begin(); other != scores.end(); ++other) {
    if (other != best) second = std::max(second, *other);
  }
  const auto footprint_class = static_cast<FootprintClass>(best - scores.begin());
  return {footprint_class, *best * (1 - second / 2) * samples, reason_of(footprint_class, features)};
}

void SteadyVerdict::feed(const FootprintVerdict& fresh, std::chrono::nanoseconds now) {
  if (!any_ || fresh.footprint_class == held_.footprint_class) {
    held_ = fresh;
    any_ = true;
    rival_since_.reset();
    return;
  }
  if (!rival_since_ || fresh.footprint_class != rival_) {
    rival_ = fresh.footprint_class;
    rival_since_ = now;
  }
  if (now - *rival_since_ < kHold) return;
  held_ = fresh;
  rival_since_.reset();
}

}  // namespace weir::model
