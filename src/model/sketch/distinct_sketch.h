// How many different things were seen, in bounded memory: HyperLogLog (Flajolet, Fusy, Gandouet, Meunier:
// "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm", AofA 2007).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weir::model {

/// 64 bits of any bytes, well spread; the same on every machine.
std::uint64_t spread_hash(std::string_view bytes);

/// 1024 registers of one byte, which exist once something was added. Standard error 1.04 / sqrt(1024) = 3.25 %; small
/// numbers are counted linearly, where it is smaller. Hashes have 64 bits, so that large numbers need no correction.
class DistinctSketch {
 public:
  static constexpr unsigned kIndexBits = 10;
  static constexpr std::size_t kRegisters = std::size_t{1} << kIndexBits;
  static constexpr double kStandardError = 0.0325;

  void add(std::string_view thing) { add_hash(spread_hash(thing)); }
  void add_hash(std::uint64_t hash);
  void merge(const DistinctSketch& other);
  [[nodiscard]] double estimate() const;
  bool operator==(const DistinctSketch&) const = default;

  [[nodiscard]] std::string to_bytes() const;
  /// Errc::usage when these are no bytes of a sketch of this version.
  static Result<DistinctSketch> from_bytes(std::string_view bytes);

 private:
  std::vector<std::uint8_t> registers_;  ///< empty, or kRegisters
};

}  // namespace weir::model
