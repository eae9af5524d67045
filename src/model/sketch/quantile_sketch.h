// Quantiles of a stream in bounded memory: DDSketch (Masson, Rim, Lee: "DDSketch: A Fast and Fully-Mergeable Quantile
// Sketch with Relative-Error Guarantees", VLDB 2019).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weir::model {

/// Of values >= 0. A quantile is within kRelativeError of the value that has this rank, as long as no more than kBins
/// bins were needed (values that differ by a factor of up to 7e8); beyond that the lowest ones are put together, and
/// only quantiles among those are off. What is below 1e-9 counts as 0.
class QuantileSketch {
 public:
  static constexpr double kRelativeError = 0.01;
  static constexpr std::size_t kBins = 1024;

  /// A negative value, or what is no number, counts as 0.
  void add(double value, std::uint64_t weight = 1);
  /// As if everything that was added to the other had been added here.
  void merge(const QuantileSketch& other);

  /// The value of rank floor(q * (count - 1)) in ascending order, 0 when nothing was added. `q` in [0, 1].
  [[nodiscard]] double quantile(double q) const;
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] double min() const { return count_ == 0 ? 0 : min_; }  ///< exact
  [[nodiscard]] double max() const { return max_; }                    ///< exact
  bool operator==(const QuantileSketch&) const = default;

  [[nodiscard]] std::string to_bytes() const;
  /// Errc::usage when these are no bytes of a sketch of this version.
  static Result<QuantileSketch> from_bytes(std::string_view bytes);

 private:
  struct Bin {
    std::int32_t index = 0;
    std::uint64_t count = 0;
    bool operator==(const Bin&) const = default;
  };
  void collapse();

  std::vector<Bin> bins_;  ///< ascending
  std::uint64_t zeros_ = 0;
  std::uint64_t count_ = 0;
  double min_ = 0;
  double max_ = 0;
};

}  // namespace weir::model
