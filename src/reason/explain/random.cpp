// The ziggurat of the normal distribution.
#include "reason/explain/random.h"

#include <cmath>

namespace weir::explain {

namespace {

constexpr std::size_t layers = 256;
constexpr double tail = 3.6541528853610088;  // where the lowest layer ends, for 256 of equal area
constexpr double area = 0.00492867323399;

struct Ziggurat {
  std::array<double, layers + 1> x{};        ///< right edges, widest first
  std::array<double, layers + 1> density{};  ///< exp(-x^2 / 2)
};

Ziggurat make_ziggurat() {
  Ziggurat z;
  z.x[0] = area / std::exp(-0.5 * tail * tail);
  z.x[1] = tail;
  for (std::size_t i = 2; i < layers; ++i) {
    z.x[i] = std::sqrt(-2 * std::log(area / z.x[i - 1] + std::exp(-0.5 * z.x[i - 1] * z.x[i - 1])));
  }
  z.x[layers] = 0;
  for (std::size_t i = 0; i <= layers; ++i) z.density[i] = std::exp(-0.5 * z.x[i] * z.x[i]);
  return z;
}

const Ziggurat ziggurat = make_ziggurat();

/// Beyond `tail`, after Marsaglia 1964.
double beyond_tail(Random& random) {
  for (;;) {
    const double x = -std::log(1 - random.uniform()) / tail;
    const double y = -std::log(1 - random.uniform());
    if (2 * y > x * x) return tail + x;
  }
}

}  // namespace

Random::Random(std::uint64_t seed) {
  for (auto& word : state_) {  // splitmix64
    std::uint64_t z = seed += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    word = z ^ (z >> 31U);
  }
}

double Random::normal() {
  for (;;) {
    const std::uint64_t bits = next();
    const std::size_t layer = bits & (layers - 1);
    const double sign = (bits & layers) != 0 ? -1.0 : 1.0;
    const double x = static_cast<double>(bits >> 11U) * 0x1p-53 * ziggurat.x[layer];
    if (x < ziggurat.x[layer + 1]) return sign * x;
    if (layer == 0) return sign * beyond_tail(*this);
    const double height = ziggurat.density[layer] + uniform() * (ziggurat.density[layer + 1] - ziggurat.density[layer]);
    if (height < std::exp(-0.5 * x * x)) return sign * x;
  }
}

void Random::fill_normal(std::span<float> values) {
  for (float& value : values) value = static_cast<float>(normal());
}

}  // namespace weir::explain
