#include "reason/doctor/spread.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "reason/doctor/thresholds.h"

namespace weir::reason {

namespace {

double power_sum(const std::vector<double>& weights, int exponent) {
  double sum = 0;
  for (const double weight : weights) sum += std::pow(weight, exponent);
  return sum;
}

std::vector<double> weights_of(const model::TxSample& sample) {
  std::vector<double> weights(sample.flows.begin(), sample.flows.end());
  const double known = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (known <= 0) return {};
  // The overflow counter may speak of all devices: what this device's samples lack is the limit.
  const double missing =
      std::min(static_cast<double>(sample.flows_overflow), std::max(0.0, static_cast<double>(sample.sampled) - known));
  if (missing > 0) {
    // The size of the flow to which the average known packet belongs: leaves sum(w^2) what it is among the known.
    const double size = std::max(1.0, power_sum(weights, 2) / known);
    for (double rest = missing; rest > 0; rest -= size) {
      weights.push_back(std::min(size, rest));
    }
  }
  const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= all;
  std::ranges::sort(weights, std::ranges::greater{});
  return weights;
}

// Q(a, x), the upper tail of the gamma distribution: series below a + 1, else Lentz's continued fraction
// (Abramowitz & Stegun 6.5.29 and 6.5.31).
double gamma_tail(double a, double x) {
  if (x <= 0) return 1;
  const double scale = std::exp(a * std::log(x) - x - std::lgamma(a));
  if (x < a + 1) {
    double term = 1 / a;
    double sum = term;
    for (double n = a + 1; term > sum * 1e-15; ++n) sum += term *= x / n;
    return std::max(0.0, 1 - scale * sum);
  }
  double b = x + 1 - a;
  double c = 1e300;
  double d = 1 / b;
  double fraction = d;
  for (int i = 1; i < 10000; ++i) {
    const double an = -i * (i - a);
    b += 2;
    d = 1 / (an * d + b);
    c = b + an / c;
    fraction *= d * c;
    if (std::abs(d * c - 1) < 1e-15) break;
  }
  return scale * fraction;
}

// sum(p^2) - E is a sum over pairs of flows of 2*w_f*w_g*([same queue] - 1/N). The pairs are uncorrelated, and of the
// triple products only triangles and cubes survive, so three moments are exact.
double moment_tail(const std::vector<double>& weights, double queues, double concentration) {
  const double a = 1 / queues;
  const double s2 = power_sum(weights, 2);
  const double s4 = power_sum(weights, 4);
  const double s6 = power_sum(weights, 6);
  const double mean = s2 + (1 - s2) * a;
  const double variance = 2 * a * (1 - a) * std::max(0.0, s2 * s2 - s4);
  if (variance < 1e-18) return concentration > mean + 1e-9 ? 0 : 1;
  const double triangles = s2 * s2 * s2 - 3 * s2 * s4 + 2 * s6;  // 6 x the sum over f<g<h of (w_f w_g w_h)^2
  const double cubes = power_sum(weights, 3) * power_sum(weights, 3) - s6;
  const double third = 8 * a * a * (1 - a) * triangles + 4 * a * (1 - a) * (1 - 2 * a) * cubes;
  const double deviation = std::sqrt(variance);
  const double z = (concentration - mean) / deviation;
  const double skewness = third / (variance * deviation);
  if (skewness < 1e-3) return 0.5 * std::erfc(z / std::sqrt(2.0));
  const double shape = 4 / (skewness * skewness);
  return gamma_tail(shape, shape + z * std::sqrt(shape));
}

// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and the same on every machine.
class Random {
 public:
  std::uint32_t below(std::uint32_t bound) {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    z ^= z >> 31;
    return static_cast<std::uint32_t>(((z >> 32) * bound) >> 32);
  }

 private:
  std::uint64_t state_ = 0x5745495221ULL;
};

// Whether chance alone reaches the concentration in any of many draws: once is far more often than kChance allows.
bool drawn(const std::vector<double>& weights, std::uint32_t queues, double concentration) {
  Random random;
  std::vector<double> load(queues);
  for (std::size_t draw = 0; draw < thresholds::kMonteCarloDraws; ++draw) {
    std::fill(load.begin(), load.end(), 0.0);
    for (const double weight : weights) load[random.below(queues)] += weight;
    if (std::inner_product(load.begin(), load.end(), load.begin(), 0.0) >= concentration) return true;
  }
  return false;
}

}  // namespace

FlowMix flow_mix(const std::vector<const model::QueueWindow*>& windows) {
  FlowMix mix;
  double pairs = 0;
  double same_flow = 0;
  const model::TxSample* best = nullptr;
  for (const model::QueueWindow* window : windows) {
    const model::TxSample& sample = window->sample;
    const double known = std::accumulate(sample.flows.begin(), sample.flows.end(), 0.0);
    // Flows that found no room in the table are left out of both sums: they are taken to be like the known ones.
    pairs += known * (known - 1);
    for (const std::uint64_t packets : sample.flows) {
      same_flow += static_cast<double>(packets) * (static_cast<double>(packets) - 1);
    }
    mix.distinct = std::max(mix.distinct, sample.flows.size());
    if (best == nullptr || sample.sampled > best->sampled) best = &sample;
  }
  if (best == nullptr || best->sampled == 0 || best->flows.empty()) return mix;
  mix.weights = weights_of(*best);
  if (mix.weights.empty()) return mix;
  mix.top_share = mix.weights.front();
  mix.top_share_error = std::sqrt(mix.top_share * (1 - mix.top_share) / static_cast<double>(best->sampled));
  // Two packets drawn at random are of one flow with probability sum(w^2): unbiased, unlike the sum of squared shares.
  mix.effective = same_flow > 0 ? pairs / same_flow : std::numeric_limits<double>::infinity();
  const double s2 = power_sum(mix.weights, 2);
  const double variance = std::max(0.0, power_sum(mix.weights, 3) - s2 * s2);
  mix.standard_error = 2 * std::sqrt(variance / static_cast<double>(best->sampled));
  return mix;
}

double expected_concentration(const FlowMix& flows, std::uint32_t queues) {
  const double same_flow = flows.effective > 0 ? 1 / flows.effective : 1;
  return same_flow + (1 - same_flow) / queues;
}

double chance_of_concentration(const FlowMix& flows, std::uint32_t queues, double concentration) {
  if (flows.weights.empty() || queues == 0) return 1;
  const double granted = concentration - thresholds::kFlowSamplingErrors * flows.standard_error;
  const double tail = moment_tail(flows.weights, queues, granted);
  const bool exact_enough = flows.weights.size() > thresholds::kMonteCarloFlows;
  if (tail > thresholds::kChance || exact_enough) return std::min(1.0, tail);
  // 1e-12: sums of the same weights in another order.
  return drawn(flows.weights, queues, granted - 1e-12) ? 1.0 / thresholds::kMonteCarloDraws : tail;
}

}  // namespace weir::reason
