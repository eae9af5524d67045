#include "model/sketch/top_sketch.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "model/sketch/bytes.h"

namespace weir::model {

namespace {

constexpr std::uint8_t kTopVersion = 1;
constexpr std::size_t kMostKept = 65536;

std::unexpected<Error> not_a_top_sketch() {
  return fail(Errc::usage, "these are no bytes of a top sketch", "");
}

}  // namespace

void TopSketch::add(std::string_view key, std::uint64_t weight) {
  if (weight == 0) return;
  total_ += weight;
  std::string name(key);
  if (const auto known = counts_.find(name); known != counts_.end()) {
    known->second.weight += weight;
    return;
  }
  std::uint64_t inherited = missed_;
  if (counts_.size() >= k_) {
    const auto least = std::ranges::min_element(
        counts_, {}, [](const auto& entry) { return std::pair(entry.second.weight, std::string_view(entry.first)); });
    inherited = least->second.weight;
    counts_.erase(least);
  }
  counts_.emplace(std::move(name), Count{.weight = inherited + weight, .error = inherited});
}

std::uint64_t TopSketch::floor() const {
  if (counts_.size() < k_) return missed_;
  const auto least = std::ranges::min_element(counts_, {}, [](const auto& entry) { return entry.second.weight; });
  return least->second.weight;
}

/// Both without what every kept key has at least, as Misra and Gries would have them; these are added, what does not
/// fit is taken from all. Sum over the kept of (weight - floor) + k * floor never exceeds N: hence floor <= N/k.
void TopSketch::merge(const TopSketch& other) {
  if (other.total_ == 0) return;
  const std::uint64_t floors = floor() + other.floor();
  if (floors == 0 && counts_.size() + other.counts_.size() <= k_) {
    total_ += other.total_;
    for (const auto& [key, count] : other.counts_) counts_[key].weight += count.weight;
    return;
  }
  std::unordered_map<std::string, std::uint64_t> surplus;
  const auto take = [&](const TopSketch& from) {
    const std::uint64_t base = from.floor();
    for (const auto& [key, count] : from.counts_) surplus[key] += count.weight - base;
  };
  take(*this);
  take(other);
  std::uint64_t cut = 0;
  if (surplus.size() > k_) {
    std::vector<std::uint64_t> sorted;
    sorted.reserve(surplus.size());
    for (const auto& [key, weight] : surplus) sorted.push_back(weight);
    std::ranges::nth_element(sorted, sorted.begin() + static_cast<std::ptrdiff_t>(k_), std::greater<>{});
    cut = sorted[k_];
  }
  missed_ = floors + cut;
  total_ += other.total_;
  counts_.clear();
  for (const auto& [key, weight] : surplus) {
    if (weight > cut) counts_.emplace(key, Count{.weight = weight - cut + missed_, .error = missed_});
  }
}

std::vector<TopSketch::Entry> TopSketch::top(std::size_t most) const {
  std::vector<Entry> entries;
  entries.reserve(counts_.size());
  for (const auto& [key, count] : counts_) entries.push_back({key, count.weight, count.error});
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.key < b.key;
  });
  if (entries.size() > most) entries.resize(most);
  return entries;
}

std::string TopSketch::to_bytes() const {
  ByteWriter to;
  to.byte('T');
  to.byte(kTopVersion);
  to.number(k_);
  to.number(total_);
  to.number(missed_);
  to.number(counts_.size());
  for (const Entry& entry : top(counts_.size())) {
    to.text(entry.key);
    to.number(entry.weight);
    to.number(entry.error);
  }
  return std::move(to).take();
}

Result<TopSketch> TopSketch::from_bytes(std::string_view bytes) {
  ByteReader from(bytes);
  if (from.byte() != 'T' || from.byte() != kTopVersion) return not_a_top_sketch();
  const auto k = from.number();
  const auto total = from.number();
  const auto missed = from.number();
  const auto kept = from.number();
  if (!kept || *k == 0 || *k > kMostKept || *kept > *k || *missed > *total) return not_a_top_sketch();
  TopSketch sketch(*k);
  sketch.total_ = *total;
  sketch.missed_ = *missed;
  for (std::uint64_t i = 0; i < *kept; ++i) {
    const auto key = from.text();
    const auto weight = from.number();
    const auto error = from.number();
    if (!error || *weight > *total || *error > *weight || *weight < *missed) return not_a_top_sketch();
    if (!sketch.counts_.emplace(std::string(*key), Count{*weight, *error}).second) return not_a_top_sketch();
  }
  if (from.left() != 0) return not_a_top_sketch();
  return sketch;
}

}  // namespace weir::model
