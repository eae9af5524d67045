#include "model/sketch/distinct_sketch.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "model/sketch/bytes.h"

namespace weir::model {

namespace {

constexpr std::uint8_t kDistinctVersion = 1;
constexpr unsigned kHighestRank = 64 - DistinctSketch::kIndexBits + 1;

std::unexpected<Error> not_a_distinct_sketch() {
  return fail(Errc::usage, "these are no bytes of a distinct sketch", "");
}

}  // namespace

std::uint64_t spread_hash(std::string_view bytes) {
  std::uint64_t hash = 0xCBF29CE484222325U;  // FNV-1a, and the finalizer of MurmurHash3 to reach the high bits
  for (const char byte : bytes) hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001B3U;
  hash = (hash ^ (hash >> 33U)) * 0xFF51AFD7ED558CCDU;
  hash = (hash ^ (hash >> 33U)) * 0xC4CEB9FE1A85EC53U;
  return hash ^ (hash >> 33U);
}

void DistinctSketch::add_hash(std::uint64_t hash) {
  if (registers_.empty()) registers_.resize(kRegisters);
  const std::uint64_t rest = (hash << kIndexBits) | (std::uint64_t{1} << (kIndexBits - 1));
  const auto rank = static_cast<std::uint8_t>(std::countl_zero(rest) + 1);
  std::uint8_t& kept = registers_[hash >> (64 - kIndexBits)];
  kept = std::max(kept, rank);
}

void DistinctSketch::merge(const DistinctSketch& other) {
  if (other.registers_.empty()) return;
  if (registers_.empty()) {
    registers_ = other.registers_;
    return;
  }
  std::ranges::transform(registers_, other.registers_, registers_.begin(),
                         [](std::uint8_t a, std::uint8_t b) { return std::max(a, b); });
}

double DistinctSketch::estimate() const {
  if (registers_.empty()) return 0;
  constexpr auto kCount = static_cast<double>(kRegisters);
  double sum = 0;
  std::size_t zeros = 0;
  for (const std::uint8_t rank : registers_) {
    sum += std::ldexp(1.0, -static_cast<int>(rank));
    zeros += rank == 0 ? 1U : 0U;
  }
  const double raw = 0.7213 / (1 + 1.079 / kCount) * kCount * kCount / sum;
  if (raw <= 2.5 * kCount && zeros != 0) return kCount * std::log(kCount / static_cast<double>(zeros));
  return raw;
}

std::string DistinctSketch::to_bytes() const {
  ByteWriter to;
  to.byte('D');
  to.byte(kDistinctVersion);
  // Runs of a register: few that are set take few bytes.
  for (std::size_t i = 0; i < registers_.size();) {
    std::size_t same = i;
    while (same < registers_.size() && registers_[same] == registers_[i]) ++same;
    to.byte(registers_[i]);
    to.number(same - i);
    i = same;
  }
  return std::move(to).take();
}

Result<DistinctSketch> DistinctSketch::from_bytes(std::string_view bytes) {
  ByteReader from(bytes);
  if (from.byte() != 'D' || from.byte() != kDistinctVersion) return not_a_distinct_sketch();
  DistinctSketch sketch;
  while (from.left() != 0) {
    const auto rank = from.byte();
    const auto run = from.number();
    if (!run || *rank > kHighestRank || *run > kRegisters - sketch.registers_.size()) return not_a_distinct_sketch();
    sketch.registers_.insert(sketch.registers_.end(), *run, *rank);
  }
  if (!sketch.registers_.empty() && sketch.registers_.size() != kRegisters) return not_a_distinct_sketch();
  return sketch;
}

}  // namespace weir::model
