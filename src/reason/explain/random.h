// Random numbers that are the same on every machine, by seed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace weir::explain {

/// xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021).
class Random {
 public:
  explicit Random(std::uint64_t seed);

  std::uint64_t next() {
    const std::uint64_t result = rotated(state_[0] + state_[3], 23) + state_[0];
    const std::uint64_t shifted = state_[1] << 17U;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotated(state_[3], 45);
    return result;
  }
  /// In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11U) * 0x1p-53; }
  /// In [0, below); `below` is at least 1.
  std::uint32_t below(std::uint32_t below) { return static_cast<std::uint32_t>(((next() >> 32U) * below) >> 32U); }
  /// Standard normal, by the ziggurat (Marsaglia and Tsang 2000; with independent bits, after Doornik 2005).
  double normal();
  void fill_normal(std::span<float> values);

 private:
  static std::uint64_t rotated(std::uint64_t x, unsigned by) { return (x << by) | (x >> (64U - by)); }
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace weir::explain
