// Who has the most, in bounded memory: weighted Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient Computation of
// Frequent and Top-k Elements in Data Streams", ICDT 2005), merged as in Agarwal et al.: "Mergeable Summaries", PODS
// 2012.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace weir::model {

/// Keeps `k` keys. With N the sum of all weights, a kept key's true weight is within [weight - error, weight], where
/// error <= N/k; a key that is not kept has at most N/k. Merging keeps that, with the N of both.
class TopSketch {
 public:
  struct Entry {
    std::string key;
    std::uint64_t weight = 0;
    std::uint64_t error = 0;
    bool operator==(const Entry&) const = default;
  };

  explicit TopSketch(std::size_t k = 64) : k_(k == 0 ? 1 : k) {}
  void add(std::string_view key, std::uint64_t weight);
  /// The result keeps as many as this one does.
  void merge(const TopSketch& other);

  /// The `most` heaviest, heaviest first; of equal ones the lower key first.
  [[nodiscard]] std::vector<Entry> top(std::size_t most) const;
  [[nodiscard]] std::uint64_t total() const { return total_; }
  /// What a key that is not kept may have at most.
  [[nodiscard]] std::uint64_t floor() const;

  [[nodiscard]] std::string to_bytes() const;
  /// Errc::usage when these are no bytes of a sketch of this version.
  static Result<TopSketch> from_bytes(std::string_view bytes);

 private:
  struct Count {
    std::uint64_t weight = 0;
    std::uint64_t error = 0;
  };
  std::size_t k_;
  std::unordered_map<std::string, Count> counts_;
  std::uint64_t total_ = 0;
  std::uint64_t missed_ = 0;  ///< what merging may have dropped of any key
};

}  // namespace weir::model
